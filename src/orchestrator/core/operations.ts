/**
 * Full recovery and shutdown, phase by phase: everything stops (leaf first), it is proven that nothing is left, a drain
 * lets late effects pass, and, for a recovery, everything wanted starts again. A phase is noted before it is entered, so a
 * master that dies inside goes on where it was. Until the last phase nothing may start (`admission`).
 */
import { isLive, type Cause } from '../../lifecycle/states.ts';
import type { Member } from '../member.ts';
import type { Command, OperationRecord } from '../types.ts';
import { cancelSoft, tryStart, withdraw } from './conditions.ts';
import { move } from './move.ts';
import type { CoreState, Operation } from './state.ts';
import { killNow, markStopping, stopIfLeaf } from './stopping.ts';
import { waitingFor } from './waiting-for.ts';

/** All of a full stop; then whatever is left is killed. */
export const STOP_ALL_BUDGET_MS = 30_000;
/** How often the proof that nothing is left is asked for again while something is. */
const PROVE_AGAIN_MS = 500;

/** A recovery gives way to a shutdown; any other second operation is refused, or shortens the shutdown under way. */
export const beginOperation = (core: CoreState, command: Command): void => {
  const running = core.operation;
  if (running !== null && !(command.verb === 'shutdown' && running.verb === 'recover')) {
    if (command.verb === 'shutdown' && running.verb === 'shutdown') hurry(core, command);
    else refuseForOperation(core, running, command);
    return;
  }
  if (running !== null) endOperation(core, 'superseded', []);
  core.operation = {
    id: command.id,
    verb: command.verb === 'recover' ? 'recover' : 'shutdown',
    phase: 'stopping',
    origin: command.origin,
    reason: command.reason,
    drainMs: command.drainMs ?? 10_000,
    resetFailed: command.resetFailed ?? command.origin === 'operator',
    resumed: false,
    startedWallMs: core.wallMs,
    phaseWallMs: core.wallMs,
    phaseAt: core.at,
    took: {},
    seq: core.inputSeq,
    commandId: command.id,
  };
  if (command.waitMs <= 0) {
    core.reply({ id: command.id, ok: true, code: 'accepted', message: `${command.verb}: accepted` });
    core.operation.commandId = null;
  }
  core.admission = core.bug === 'restart-during-drain';
  enterPhase(core, 'stopping');
};

export const refuseForOperation = (core: CoreState, running: Operation, command: Command): void => {
  core.reply({
    id: command.id,
    ok: false,
    code: 'refused',
    message: `cannot ${command.verb}: ${running.verb} is under way since phase ${running.phase} (${running.reason})`,
    remedy: 'wait for it ("master_loop status" shows its phase), then try again',
    details: { operation: toRecord(running, null, []) },
  });
};

/** A second stop shortens the first: no more waiting for graceful ends. */
const hurry = (core: CoreState, command: Command): void => {
  killAll(core, `full stop, shortened: ${command.reason}`);
  core.reply({ id: command.id, ok: true, code: 'accepted', message: 'shutdown: shortened, everything is killed now' });
};

export const enterPhase = (core: CoreState, phase: OperationRecord['phase']): void => {
  const operation = core.operation;
  if (operation === null) return;
  if (operation.phase !== phase && operation.phase !== 'done')
    operation.took = { ...operation.took, [operation.phase]: core.at - operation.phaseAt };
  operation.phase = phase;
  operation.phaseAt = core.at;
  operation.phaseWallMs = core.wallMs;
  core.cause = operation.seq;
  operation.seq = core.note({ type: 'operation', operation: toRecord(operation, null, []) });
  core.cause = operation.seq;
  switch (phase) {
    case 'stopping':
      stopEverything(core);
      break;
    case 'proving':
      core.effects.push({ do: 'prove-empty', operation: operation.id });
      break;
    case 'draining':
      core.arm(`drain:${operation.id}`, operation.drainMs);
      break;
    case 'starting':
      startEverything(core, operation);
      break;
    case 'done':
      break;
  }
};

/** Asked after whatever may complete a phase: something is gone, or everything that starts has come to an end of it. */
export const operationProgress = (core: CoreState): void => {
  const operation = core.operation;
  if (operation === null) return;
  if (operation.phase === 'stopping' && core.live === 0) {
    core.cancelTimer('stop-all');
    enterPhase(core, 'proving');
  } else if (operation.phase === 'starting' && startingDone(core)) finishRecovery(core, operation);
};

const stopEverything = (core: CoreState): void => {
  core.arm('stop-all', STOP_ALL_BUDGET_MS);
  const why = operationCause(core);
  for (const member of core.members) {
    withdraw(core, member);
    cancelSoft(core, member);
    if (member.state === 'RESTARTING') {
      core.cancelTimer(`backoff:${member.type}`);
      member.nextAttemptAt = null;
      member.nextAttemptWallMs = null;
      move(core, member, 'held', why, 'held by the full stop');
    }
    member.plan = null;
    if (!isLive(member.state)) continue;
    if (member.stopWish === null || member.state !== 'STOPPING')
      member.stopWish = {
        graceful: true,
        then: 'wait',
        why,
        message: `full stop: ${core.operation?.reason ?? ''}`,
        cause: core.cause,
      };
    else if (member.stopWish.then === 'failure') member.stopWish = { ...member.stopWish, then: 'wait' };
    markStopping(core, member);
  }
  for (const member of core.members) stopIfLeaf(core, member);
  operationProgress(core);
};

const killAll = (core: CoreState, message: string): void => {
  for (const member of core.members) {
    if (!isLive(member.state)) continue;
    if (member.state !== 'STOPPING') killNow(core, member, 'wait', operationCause(core), message);
    else core.effects.push({ do: 'kill', daemon: member.type, generation: member.generation, full: true });
  }
};

export const provenEmpty = (core: CoreState, operationId: string, left: readonly string[]): void => {
  const operation = core.operation;
  if (operation === null || operation.id !== operationId || operation.phase !== 'proving') return;
  core.follows(operation.seq);
  if (left.length > 0) {
    core.arm(`prove:${operation.id}`, PROVE_AGAIN_MS);
    return;
  }
  if (operation.verb === 'shutdown') {
    endOperation(core, 'stopped', []);
    core.effects.push({ do: 'leave' });
    return;
  }
  enterPhase(core, 'draining');
};

const startEverything = (core: CoreState, operation: Operation): void => {
  core.admission = true;
  core.doneUpTo = 0;
  for (const member of core.members) {
    if (member.wanted !== 'up') continue;
    if (member.state === 'FAILED' && operation.resetFailed) {
      core.clearCounter(member);
      move(core, member, 'want', operationCause(core), 'FAILED is reset by the recovery');
    }
    if (member.startWhy === null) member.startWhy = operationCause(core);
  }
  for (const member of core.members) tryStart(core, member);
  operationProgress(core);
};

/**
 * Every wanted daemon is up, or will not be without somebody acting. The place up to which that held is remembered, so
 * asking after every transition costs the fleet once and not each time.
 */
const startingDone = (core: CoreState): boolean => {
  if (core.notUp === 0) return true;
  const done = (member: Member): boolean =>
    member.wanted === 'down' ||
    member.isUp() ||
    member.state === 'FAILED' ||
    (member.state === 'WAITING' && !member.permit && waitingFor(core, member).some((wait) => wait.impossible));
  while (core.doneUpTo < core.members.length && done(core.members[core.doneUpTo]!)) core.doneUpTo++;
  if (core.doneUpTo < core.members.length) return false;
  core.doneUpTo = core.members.findIndex((member) => !done(member));
  if (core.doneUpTo >= 0) return false;
  core.doneUpTo = 0;
  return true;
};

const finishRecovery = (core: CoreState, operation: Operation): void => {
  const notReady = core.members.filter((member) => member.wanted === 'up' && !member.isUp()).map((m) => m.type);
  endOperation(core, notReady.length > 0 ? 'degraded' : operation.resumed ? 'resumed' : 'recovered', notReady);
};

const endOperation = (
  core: CoreState,
  verdict: NonNullable<OperationRecord['verdict']>,
  notReady: readonly string[],
): void => {
  const operation = core.operation;
  if (operation === null) return;
  operation.took = { ...operation.took, [operation.phase]: core.at - operation.phaseAt };
  operation.phase = 'done';
  operation.phaseWallMs = core.wallMs;
  const record = toRecord(operation, verdict, notReady);
  core.cause = operation.seq;
  core.note({ type: 'operation', operation: record });
  core.operation = null;
  core.lastOperation = record;
  for (const timer of [`drain:${operation.id}`, 'stop-all']) core.cancelTimer(timer);
  if (operation.commandId === null) return;
  const good = verdict === 'recovered' || verdict === 'resumed' || verdict === 'stopped';
  core.reply({
    id: operation.commandId,
    ok: good,
    code: good ? 'done' : verdict === 'superseded' ? 'superseded' : 'failed',
    message: good
      ? `${operation.verb}: ${verdict} ${timesOf(operation.took)}`
      : `cannot call the ${operation.verb} complete: ${verdict}${notReady.length > 0 ? `, not ready: ${notReady.join(', ')}` : ''}`,
    ...(good ? {} : { remedy: `"master_loop why ${notReady[0] ?? 'DAEMON'}" shows the cause` }),
    details: { operation: record },
  });
};

/** Its time for stopping is spent: whatever is left is killed. */
export const stopBudgetSpent = (core: CoreState): void => {
  if (core.operation?.phase === 'stopping') killAll(core, 'the budget of the full stop is spent');
};

/** What was on its way has had its time to arrive. */
export const drained = (core: CoreState, operationId: string): void => {
  if (core.operation?.id === operationId && core.operation.phase === 'draining') enterPhase(core, 'starting');
};

/** Something was left when it was asked for last. */
export const proveAgain = (core: CoreState, operationId: string): void => {
  if (core.operation?.id === operationId && core.operation.phase === 'proving')
    core.effects.push({ do: 'prove-empty', operation: operationId });
};

/** A shutdown is somebody's word; what a recovery stops and starts says whether the clock asked for it. */
const operationCause = ({ operation }: CoreState): Cause => {
  if (operation?.verb === 'shutdown') return 'operator';
  return operation?.origin === 'schedule' ? 'schedule' : 'recovery';
};

/** How long an operation took, with its phases. */
const timesOf = (took: OperationRecord['took']): string => {
  const phases = Object.entries(took).map(([phase, ms]) => [phase, ms] as const);
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  const all = phases.reduce((sum, [, ms]) => sum + ms, 0);
  return `in ${seconds(all)} (${phases.map(([phase, ms]) => `${phase} ${seconds(ms)}`).join(', ')})`;
};

/** As the journal and people see it. */
export const toRecord = (
  operation: Operation,
  verdict: OperationRecord['verdict'],
  notReady: readonly string[],
): OperationRecord => ({
  id: operation.id,
  verb: operation.verb,
  phase: operation.phase,
  origin: operation.origin,
  reason: operation.reason,
  drainMs: operation.drainMs,
  resetFailed: operation.resetFailed,
  resumed: operation.resumed,
  startedWallMs: operation.startedWallMs,
  phaseWallMs: operation.phaseWallMs,
  took: { ...operation.took },
  verdict,
  notReady,
});

/**
 * As an earlier run of the master left it; `boot` decides whether it goes on. It is called resumed from the first, since
 * whoever asks may be answered before that.
 */
export const fromRecord = (record: OperationRecord): Operation => ({
  ...record,
  resumed: true,
  phaseAt: 0,
  took: { ...record.took },
  seq: 0,
  commandId: null,
});
