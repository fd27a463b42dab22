/**
 * What an earlier master left running: adopted where its daemon will want it back, ended where nobody will.
 *
 * A process that survives a restart of its daemon survives one of the master too, and its daemon's next start finds it in
 * `spawned()`. It is ended when its daemon is no longer in the fleet or not wanted, and when a full stop was under way:
 * that promised that nothing is left.
 */
import type { Fleet } from '../fleet/types.ts';
import type { ProcessRecords } from './process-records.ts';
import type { Restored } from './restore.ts';

export interface FormerProcesses {
  readonly adopted: number;
  readonly ended: number;
}

/** Call once, before the first daemon starts. Resolves when what was to be ended is proven gone. */
export const dealWithFormerProcesses = async (
  processes: ProcessRecords,
  fleet: Pick<Fleet, 'daemons'>,
  { keeps, operation }: Restored,
): Promise<FormerProcesses> => {
  const recovered = await processes.recover(operation === null ? 'adopt' : 'end');
  let adopted = recovered.filter(({ outcome }) => outcome === 'adopted').length;
  let ended = recovered.filter(({ outcome }) => outcome === 'ended').length;
  const specs = new Map(fleet.daemons.map((spec) => [spec.type, spec]));
  const unwanted = new Set<string>();
  for (const { record } of processes.live()) {
    const wanted = keeps.get(record.daemon)?.wanted ?? (specs.get(record.daemon)?.inProfile === true ? 'up' : 'down');
    if (!specs.has(record.daemon) || wanted === 'down') unwanted.add(record.daemon);
  }
  for (const daemon of unwanted) {
    const { length } = processes.live(daemon);
    await processes.endAllOf(daemon, { survivors: true, graceMs: 2_000 });
    adopted -= length;
    ended += length;
  }
  return { adopted, ended };
};
