/**
 * Who goes down with whom, and when they come back: the hard dependents of what stops or is lost stop leaf first, and
 * start root first. Losses that are close together are one plan: nobody in it starts before its window has closed, so a
 * member of several cascades restarts once.
 */
import { edgeAction, type EdgeEvent } from '../../lifecycle/edge-rules.ts';
import { isLive } from '../../lifecycle/states.ts';
import type { Member, StopWish } from '../member.ts';
import { tryStart } from './conditions.ts';
import type { CoreState } from './state.ts';
import { markStopping, stopIfLeaf } from './stopping.ts';

/** Losses this close together are one plan: a member of several cascades restarts once. docs/contract.md "Edges". */
export const MERGE_WINDOW_MS = 250;

type Dependents = ReadonlyMap<Member, 'restart' | 'stop'>;

/**
 * Asks `roots` to stop with everything that must go before them, leaf first. The dependents' part of it follows from
 * the edge table; what is not running is left as it is.
 */
export const requestStops = (
  core: CoreState,
  roots: readonly Member[],
  event: EdgeEvent,
  wish: Omit<StopWish, 'cause'>,
): void => {
  const dependents = closure(core, roots, event);
  if (dependents.size > 0)
    markDependents(
      core,
      dependents,
      `${roots.map((root) => root.type).join(', ')} ${event === 'lost' ? 'is going away' : 'was stopped by an operator'}`,
      roots.some((root) => root.drill),
    );
  for (const root of roots) {
    if (root.state !== 'STARTING' && root.state !== 'RUNNING') continue;
    const fresh = root.stopWish === null;
    if (fresh || wish.then === 'down') root.stopWish = { ...wish, cause: core.cause };
    if (fresh) markStopping(core, root);
  }
  stopLeafFirst(core, dependents);
  for (const root of roots) stopIfLeaf(core, root);
};

/** `member` is lost: its dependents go down by their edges. */
export const lose = (core: CoreState, member: Member): void => {
  core.cause = member.seq;
  const dependents = closure(core, [member], 'lost');
  if (dependents.size === 0) return;
  markDependents(core, dependents, `${member.type} is ${member.state}`, member.drill);
  stopLeafFirst(core, dependents);
};

/** Those that run and are not stopping yet get the wish to stop, and come back together. */
const markDependents = (core: CoreState, dependents: Dependents, message: string, drill: boolean): void => {
  for (const [member, action] of dependents) {
    if (member.stopWish !== null) continue;
    if (member.state !== 'STARTING' && member.state !== 'RUNNING') continue;
    member.stopWish = { graceful: true, then: 'wait', why: 'dependency-lost', message, cause: core.cause };
    if (action === 'restart') countCascade(core, member, drill);
    joinPlan(core, member);
    markStopping(core, member);
  }
};

const stopLeafFirst = (core: CoreState, dependents: Dependents): void => {
  for (const member of [...dependents.keys()].reverse()) stopIfLeaf(core, member);
};

/** The hard dependents that go down with `roots`, nearest first; pure, so `plan` shows what a command would touch. */
export const closure = (
  core: CoreState,
  roots: readonly Member[],
  event: EdgeEvent,
): Map<Member, 'restart' | 'stop'> => {
  const found = new Map<Member, 'restart' | 'stop'>();
  const queue = [...roots];
  for (let next = 0; next < queue.length; next++) {
    if (core.bug === 'cascade-misses-grandchildren' && next >= roots.length) break;
    for (const edge of queue[next]!.neededBy) {
      const action = edgeAction(edge.kind, edge.onLoss, event);
      if (action !== 'restart' && action !== 'stop') continue;
      const member = edge.from;
      if (found.has(member) || roots.includes(member) || !isLive(member.state)) continue;
      found.set(member, action);
      queue.push(member);
    }
  }
  return found;
};

const countCascade = (core: CoreState, member: Member, drill: boolean): void => {
  if (!drill) member.countRestart(core.wallMs);
  member.startWhy = 'dependency-lost';
  member.rule = 'goes down and comes back with a hard dependency (onLoss: restart)';
};

const joinPlan = (core: CoreState, member: Member): void => {
  if (core.plan === null || !core.plan.open) {
    core.plan = { id: core.inputSeq, open: true, members: new Set() };
    core.arm(`plan:${core.plan.id}`, MERGE_WINDOW_MS);
  }
  core.plan.members.add(member);
  member.plan = core.plan;
};

/** The window of a plan is over: its members may start, root first as their conditions come to hold. */
export const planCloses = (core: CoreState, id: number): void => {
  core.inputCause = id; // a plan is named by the number of the record that opened it
  core.cause = id;
  const plan = core.plan;
  if (plan === null || plan.id !== id || !plan.open) return;
  plan.open = false;
  core.plan = null;
  for (const member of plan.members) {
    if (member.plan === plan) member.plan = null;
    tryStart(core, member);
  }
};
