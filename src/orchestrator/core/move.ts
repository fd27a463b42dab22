/**
 * The one setter: the only place where the state of a daemon changes. It asks the table for the row, keeps the counters
 * over the fleet, writes the note and then announces the change; what follows from a change of state (conditions of its
 * dependents, waiting commands, the operation under way) hangs on that announcement and is wired in core.ts.
 */
import { isLive, type Cause, type DaemonState } from '../../lifecycle/states.ts';
import { decide, type LifecycleEvent } from '../../lifecycle/transitions.ts';
import type { Member } from '../member.ts';
import { markLost } from './reattaching.ts';
import type { CoreState } from './state.ts';

/** States that no failure is behind: what decided an earlier one must not be read as the reason of these. */
const AT_REST: ReadonlySet<DaemonState> = new Set(['RUNNING', 'STOPPED', 'COMPLETED']);

export const move = (core: CoreState, member: Member, on: LifecycleEvent, why: Cause | null, message: string): void => {
  const from = member.state;
  const row = decide(from, on);
  const wasLive = isLive(from);
  if (from === 'FAILED' || AT_REST.has(row.to)) member.rule = '';
  member.enter(row.to, core.at, core.wallMs, message, why);
  if (core.bug === 'failed-comes-back' && row.to === 'FAILED') member.state = 'WAITING';
  if (core.bug === 'forget-operator-stop' && row.to === 'STOPPED') core.setWanted(member, 'up', 'profile');
  if (wasLive !== isLive(row.to)) {
    core.live += wasLive ? -1 : 1;
    if (wasLive) markLost(core, member);
  }
  if (from === 'WAITING') {
    for (const edge of member.needs) {
      if (!edge.released) continue;
      edge.released = false; // the next episode of waiting waits anew
      edge.judge();
    }
  }
  core.countNotUp(member);
  member.seq = core.note({
    type: 'transition',
    daemon: member.type,
    from,
    to: row.to,
    on,
    why,
    message,
    generation: member.generation,
    keep: member.note(),
  });
  core.touched.add(member);
  core.moved(core, member);
};
