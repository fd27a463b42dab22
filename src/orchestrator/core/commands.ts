/**
 * What a command does to the daemons it names, by the table of lifecycle/command-merge.ts: a command never begins a second
 * operation beside the one under way, it bends that one. What it is answered, and when, is in waiters.ts; recover and
 * shutdown are in operations.ts.
 */
import { COMMAND_MERGE, type ActVerb, type MergeAction } from '../../lifecycle/command-merge.ts';
import { PULLED_IN, type Member } from '../member.ts';
import type { Command } from '../types.ts';
import { requestStops } from './cascades.ts';
import { cancelSoft, tryStart, withdraw } from './conditions.ts';
import { move } from './move.ts';
import { beginOperation, refuseForOperation } from './operations.ts';
import type { CoreState } from './state.ts';
import { awaitGoal } from './waiters.ts';

export const execute = (core: CoreState, command: Command): void => {
  switch (command.verb) {
    case 'recover':
    case 'shutdown':
      beginOperation(core, command);
      return;
    case 'drill-begin':
    case 'drill-heal':
      drill(core, command);
      return;
    case 'start-profile':
      startProfile(core, command);
      return;
    case 'start':
    case 'stop':
    case 'restart':
    case 'reset':
      act(core, command, command.verb);
      return;
  }
};

const act = (core: CoreState, command: Command, verb: ActVerb): void => {
  const targets = targetsOf(core, command);
  if (targets === null) return;
  if (core.operation?.verb === 'shutdown') {
    core.reply({
      id: command.id,
      ok: false,
      code: 'refused',
      message: `cannot ${verb} ${command.daemons.join(', ')}: the loop is shutting down (${core.operation.reason})`,
      remedy: 'start the loop again first',
    });
    return;
  }
  const notes: string[] = [];
  const beyond = new Map<Member, number>();
  const stopping: Member[] = [];
  for (const member of targets) {
    if (verb === 'restart' && command.origin === 'daemon') {
      restartOnReport(core, member, command.reason);
      continue;
    }
    if (verb !== 'stop' && member.restarts > 0)
      notes.push(`${member.type}: restart counter cleared (was ${member.restarts})`);
    bend(core, member, COMMAND_MERGE[verb][member.state], command, stopping, beyond);
  }
  if (stopping.length > 0) {
    const message = `stop by ${command.origin}`;
    requestStops(core, stopping, 'stopped-by-operator', { graceful: true, then: 'down', why: 'operator', message });
  }
  const goal = verb === 'stop' ? 'down' : verb === 'reset' ? 'nothing' : 'up';
  awaitGoal(core, command, goal, targets, notes, beyond);
};

/** One row of the table for one daemon. What concerns all that the command names is gathered in `stopping` and `beyond`. */
const bend = (
  core: CoreState,
  member: Member,
  action: MergeAction,
  command: Command,
  stopping: Member[],
  beyond: Map<Member, number>,
): void => {
  const by = `${command.verb} by ${command.origin}`;
  switch (action) {
    case 'want':
      core.setWanted(member, 'up', 'operator');
      core.clearCounter(member);
      pullIn(core, member);
      move(core, member, 'want', 'operator', by);
      tryStart(core, member);
      return;
    case 'retry-now':
      core.clearCounter(member);
      core.cancelTimer(`backoff:${member.type}`);
      withdraw(core, member);
      move(core, member, 'retry-now', 'operator', by);
      tryStart(core, member);
      return;
    case 'join':
    case 'clear':
      core.clearCounter(member);
      if (command.verb === 'start') {
        pullIn(core, member);
        comeBack(core, member);
      }
      core.keep(member, by);
      tryStart(core, member);
      return;
    case 'after-stop':
      core.setWanted(member, 'up', 'operator');
      core.clearCounter(member);
      member.stopWish = { graceful: true, then: 'wait', why: 'operator', message: by, cause: core.cause };
      core.keep(member, `${by}: starts again once it is gone`);
      return;
    case 'stop':
      core.setWanted(member, 'down', 'operator');
      core.keep(member, `${by}: ${command.reason}`);
      stopping.push(member);
      return;
    case 'unwant':
      core.setWanted(member, 'down', 'operator');
      core.cancelTimer(`backoff:${member.type}`);
      cancelSoft(core, member);
      withdraw(core, member);
      move(core, member, 'unwant', 'operator', by);
      stopping.push(member); // nothing of it runs, but those that stayed up without it go down now
      return;
    case 'stay-down':
      core.setWanted(member, 'down', 'operator');
      member.stopWish = { graceful: true, then: 'down', why: 'operator', message: by, cause: core.cause };
      core.keep(member, `${by}: stays down`);
      stopping.push(member);
      return;
    case 'cycle':
      core.clearCounter(member);
      if (member.wanted === 'down') comeBack(core, member);
      core.keep(member, `${by}: ${command.reason}`);
      beyond.set(member, member.generation);
      requestStops(core, [member], 'lost', { graceful: true, then: 'wait', why: 'operator', message: by });
      return;
    case 'nothing':
      if (member.wantedBy === 'operator') return;
      core.setWanted(member, 'down', 'operator'); // or another start would pull it in
      core.keep(member, `${by}: ${command.reason}`);
      return;
  }
};

/** A stop of it is under way, and now it is wanted again: it stops all the same, and comes back. */
const comeBack = (core: CoreState, member: Member): void => {
  if (member.stopWish === null) return;
  core.setWanted(member, 'up', 'operator');
  member.stopWish = { ...member.stopWish, then: 'wait' };
};

/** Hard dependencies that nobody ever wanted come along; those an operator stopped stay stopped and are named. */
const pullIn = (core: CoreState, member: Member): void => {
  for (const edge of member.needs) {
    const on = edge.on;
    if (edge.kind !== 'hard' || on.wanted === 'up' || on.wantedBy === 'operator') continue;
    core.setWanted(on, 'up', `${PULLED_IN} ${member.type}`);
    pullIn(core, on);
    if (on.state === 'STOPPED') move(core, on, 'want', 'operator', on.wantedBy);
    tryStart(core, on);
  }
};

/** A daemon asked for it: that is evidence of sickness, so it is charged like any other failure. */
const restartOnReport = (core: CoreState, member: Member, reason: string): void => {
  if (member.state !== 'RUNNING' || member.stopWish !== null) return;
  requestStops(core, [member], 'lost', {
    graceful: true,
    then: 'failure',
    why: member.drill ? 'drill' : 'unhealthy',
    message: reason,
  });
};

/** Everything of the profile is wanted again, whatever an operator stopped; what is under way is left to finish. */
const startProfile = (core: CoreState, command: Command): void => {
  if (core.operation !== null) {
    refuseForOperation(core, core.operation, command);
    return;
  }
  const targets = command.daemons.length > 0 ? targetsOf(core, command) : core.members.filter((m) => m.spec.inProfile);
  if (targets === null) return;
  const notes: string[] = [];
  for (const member of targets) {
    if (member.wanted === 'down' && member.wantedBy === 'operator')
      notes.push(`operator stop of ${member.type} lifted`);
    if (member.state === 'FAILED') notes.push(`${member.type} was FAILED and is reset`);
    const action = COMMAND_MERGE.start[member.state];
    core.setWanted(member, 'up', member.spec.inProfile ? 'profile' : 'operator');
    if (action === 'want' && member.state !== 'COMPLETED') {
      core.clearCounter(member);
      move(core, member, 'want', 'operator', `start of the profile by ${command.origin}`);
      tryStart(core, member);
    } else {
      if (action === 'after-stop' && member.stopWish !== null) member.stopWish = { ...member.stopWish, then: 'wait' };
      core.keep(member, 'start of the profile');
    }
  }
  awaitGoal(core, command, 'up', targets, notes, new Map());
};

/** From here on its failures are those of a drill, and counted apart; or no longer. */
const drill = (core: CoreState, command: Command): void => {
  const targets = targetsOf(core, command);
  if (targets === null) return;
  for (const member of targets) {
    member.drill = command.verb === 'drill-begin';
    if (!member.drill) member.drillFailures = 0;
    core.touched.add(member);
  }
  core.reply({ id: command.id, ok: true, code: 'done', message: `${command.verb} ${command.daemons.join(', ')}` });
};

/** null: one of them is unknown, and that is answered. */
const targetsOf = (core: CoreState, command: Command): Member[] | null => {
  const unknown = command.daemons.filter((type) => !core.byType.has(type));
  if (unknown.length > 0) {
    core.reply({
      id: command.id,
      ok: false,
      code: 'unknown-daemon',
      message: `cannot ${command.verb} ${unknown.join(', ')}: no such daemon in this fleet`,
      remedy: '"master_loop status" lists the daemons',
      details: { unknown },
    });
    return null;
  }
  return command.daemons.map((type) => core.known(type));
};
