/**
 * Edges with `onLoss: reattach`: the dependent stays up without the other end, and must prove its subscriptions within a
 * deadline once the other end is ready again. This is the bookkeeping; what comes of the answer is in evidence.ts.
 */
import { edgeAction } from '../../lifecycle/edge-rules.ts';
import type { Member } from '../member.ts';
import type { CoreState } from './state.ts';

/** A re-attachment must be proven this soon after the other end is ready again. */
export const REATTACH_MS = 5_000;

/** A start of `member` ended: those that stay up without it must prove their subscriptions when it is back. */
export const markLost = (core: CoreState, member: Member): void => {
  for (const edge of member.neededBy) {
    const dependent = edge.from;
    if (edgeAction(edge.kind, edge.onLoss, 'lost') !== 'stay' || dependent.state !== 'RUNNING') continue;
    edge.lost = true;
    core.touched.add(dependent);
    endReattach(core, dependent);
  }
};

/** The other end is back: from now on the deadline runs. */
export const beginReattach = (core: CoreState, member: Member, on: Member): void => {
  if (!member.reattaching) core.arm(`reattach:${member.type}`, REATTACH_MS);
  member.reattaching = true;
  member.reattachSeq = on.seq;
  core.effects.push({ do: 'reattach', daemon: member.type, generation: member.generation, on: on.type });
};

/** It need not prove anything any longer: it has, or it ends, or the other end is away again. */
export const endReattach = (core: CoreState, member: Member): void => {
  if (!member.reattaching) return;
  member.reattaching = false;
  core.cancelTimer(`reattach:${member.type}`);
};
