/**
 * What a daemon that does not start is waiting for, in words, down to the leaf: not "B waits for A" but what has to happen
 * to the daemon at the end of the chain, who has to do it and with which command. Reads the state and changes nothing.
 */
import type { Edge, Member } from '../member.ts';
import type { WaitingFor } from '../types.ts';
import type { CoreState } from './state.ts';

/** Unmet edges that status lists per daemon. */
const WAITS_SHOWN = 16;

/** A wait for something that is no daemon and passes by itself. */
const held = (on: string, kind: WaitingFor['kind'], message: string): WaitingFor => ({
  on,
  kind,
  condition: kind,
  state: null,
  impossible: false,
  message,
  remedy: null,
});

/** Follows unmet hard edges to what really has to happen. */
const leafOf = (
  edge: Edge,
  waiter: Member,
): { readonly impossible: boolean; readonly message: string; readonly remedy: string | null } => {
  const seen = new Set<Member>([waiter]);
  let here = edge;
  for (;;) {
    const on = here.on;
    if (on.state === 'FAILED')
      return { impossible: true, message: `${on.type} is FAILED`, remedy: `master_loop reset ${on.type}` };
    if (on.wanted === 'down') {
      const why = on.wantedBy === 'operator' ? 'was stopped by an operator' : `is not wanted (${on.wantedBy})`;
      return { impossible: true, message: `${on.type} ${why}`, remedy: `master_loop start ${on.type}` };
    }
    const next =
      on.state === 'WAITING' && !seen.has(on) ? on.needs.find((need) => !need.met && need.kind === 'hard') : undefined;
    if (next === undefined)
      return { impossible: false, message: `${on.type} is ${on.state}, needs to be ${here.condition}`, remedy: null };
    seen.add(on);
    here = next;
  }
};

/** What a daemon that does not start is waiting for, down to the leaf. */
export const waitingFor = (core: CoreState, member: Member): WaitingFor[] => {
  if (member.state !== 'WAITING' && !(member.state === 'RESTARTING' && (member.heldByStorm || member.permit)))
    return [];
  const found: WaitingFor[] = [];
  if (!core.admission) {
    const what =
      core.operation === null ? 'the boot of the loop' : `${core.operation.verb} (phase ${core.operation.phase})`;
    return [held(what, 'operation', `held by ${what}`)];
  }
  if (member.heldByStorm) found.push(held('storm breaker', 'storm', 'held by the storm breaker until failures stop'));
  for (const edge of member.needs) {
    if (edge.met) continue;
    if (found.length >= WAITS_SHOWN) break;
    const leaf = leafOf(edge, member);
    found.push({
      on: edge.on.type,
      kind: edge.kind,
      condition: edge.condition,
      state: edge.on.state,
      impossible: edge.kind === 'hard' && leaf.impossible,
      message: leaf.message,
      remedy: leaf.remedy,
    });
  }
  if (found.length === 0 && member.permit)
    found.push(held('start slot', 'slot', 'every condition holds; waits for a start slot'));
  return found;
};
