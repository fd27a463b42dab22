/** The result of one drill while it is being written: steps, checks, and the file after each change that matters. */
import { isoTime, type Clock } from '../../seams/clock.ts';
import type { DrillStore } from './store.ts';
import type { Drill, DrillCheck, DrillResult, DrillStatus, DrillStep, StepName } from './types.ts';

export interface DrillRecord {
  readonly result: DrillResult;
  readonly passedSoFar: boolean;
  set(
    change: Partial<
      Pick<DrillResult, 'target' | 'fault' | 'detectionSeconds' | 'recoverySeconds' | 'recoveryTargetSeconds'>
    >,
  ): void;
  /** The fault is there: seconds count from here. */
  begin(note: string): void;
  /** @param at  monotonic milliseconds; absent: now */
  step(name: StepName, note?: string, at?: number): void;
  /** @returns ok */
  check(what: string, ok: boolean, detail: string): boolean;
  save(): void;
  /** Closes it: what is said last is kept. */
  end(status: DrillStatus, reason?: string | null): DrillResult;
}

export const openRecord = (
  store: DrillStore,
  clock: Clock,
  about: {
    readonly drill: Drill;
    readonly target: string | null;
    readonly fleet: string;
    readonly tempo: string;
    readonly origin: DrillResult['origin'];
    readonly status: 'running' | 'injected';
  },
): DrillRecord => {
  const startedWallMs = clock.wallMs();
  const startedAt = isoTime(startedWallMs);
  let begunAt = clock.monotonicMs();
  const steps: DrillStep[] = [];
  const checks: DrillCheck[] = [];
  let result: DrillResult = {
    version: 1,
    id: store.newId(about.drill, startedWallMs),
    ...about,
    passed: null,
    startedAt,
    endedAt: null,
    fault: '',
    steps,
    checks,
    detectionSeconds: null,
    recoverySeconds: null,
    recoveryTargetSeconds: null,
    reason: null,
  };
  const record: DrillRecord = {
    get result() {
      return { ...result, steps: [...steps], checks: [...checks] };
    },
    get passedSoFar() {
      return checks.every(({ ok }) => ok);
    },
    set: (change) => void (result = { ...result, ...change }),
    begin(note) {
      begunAt = clock.monotonicMs();
      record.step('injected', note, begunAt);
      record.save();
    },
    step(name, note = '', at = clock.monotonicMs()) {
      const ago = clock.monotonicMs() - at;
      steps.push({
        name,
        at: isoTime(clock.wallMs() - ago),
        seconds: Math.max(0, Math.round(at - begunAt)) / 1000,
        note,
      });
    },
    check(what, ok, detail) {
      checks.push({ what, ok, detail });
      return ok;
    },
    save: () => store.write(record.result),
    end(status, reason = null) {
      const failed = checks.find(({ ok }) => !ok);
      result = {
        ...result,
        status,
        passed: status === 'passed' ? true : status === 'injected' || status === 'healed' ? result.passed : false,
        endedAt: isoTime(clock.wallMs()),
        reason: reason ?? (status === 'passed' || failed === undefined ? null : `${failed.what}: ${failed.detail}`),
      };
      record.save();
      return record.result;
    },
  };
  return record;
};
