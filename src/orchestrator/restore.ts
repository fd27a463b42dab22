/**
 * What an earlier run left: the checkpoint, with every note after it applied. Notes carry the whole persistent part of
 * their daemon, so the last one wins and no decision is made again; a fleet or a core that changed since cannot disagree.
 */
import type { RecoveredJournal } from '../journal/recovery.ts';
import { noteOf } from '../journal/loop-journal.ts';
import type { Core } from './core.ts';
import type { DaemonKeep, OperationRecord } from './types.ts';

export interface Restored {
  readonly keeps: ReadonlyMap<string, DaemonKeep>;
  /** An operation that had not ended. */
  readonly operation: OperationRecord | null;
}

/** State of a checkpoint; `version` grows when its meaning changes. */
interface CheckpointState {
  readonly version: 1;
  readonly keeps: readonly (readonly [string, DaemonKeep])[];
  readonly operation: OperationRecord | null;
}

/** What the notes up to now give, and nothing that was not written yet: a checkpoint and its tail must agree. */
export const checkpointState = (core: Core): CheckpointState => ({
  version: 1,
  keeps: core.members.map((member) => [member.type, member.noted] as const),
  operation: core.operation,
});

export const restoreState = (recovered: RecoveredJournal): Restored => {
  const base = recovered.checkpoint?.state as CheckpointState | undefined;
  const keeps = new Map<string, DaemonKeep>(base?.version === 1 ? base.keeps : []);
  let operation = base?.version === 1 ? base.operation : null;
  for (const record of recovered.tail) {
    const note = noteOf(record);
    if (note === null) continue;
    if (note.type === 'operation') operation = note.operation.phase === 'done' ? null : note.operation;
    else keeps.set(note.daemon, note.keep);
  }
  return { keeps, operation };
};
