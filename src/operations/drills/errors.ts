/** What the drills refuse, with the nearest valid thing to do instead. */
import { OrchestratorError } from '../../errors.ts';
import { nearestName, quoted } from '../../graph/names.ts';

const NAMED_MAX = 8;

export const someOf = (names: readonly string[]): string =>
  names.length <= NAMED_MAX
    ? names.join(', ')
    : `${names.slice(0, NAMED_MAX).join(', ')} and ${names.length - NAMED_MAX} more`;

export const drillArguments = (message: string, remedy: string): OrchestratorError =>
  new OrchestratorError('ARGUMENTS_INVALID', { message, remedy });

export const unknownDrill = (typed: string, drills: readonly string[]): OrchestratorError => {
  const meant = nearestName(typed, drills);
  return drillArguments(
    `cannot rehearse ${quoted(typed)}: there is no such drill`,
    meant === null
      ? `the drills are ${drills.join(', ')}`
      : `did you mean ${meant}? "master_loop drill list" shows all`,
  );
};

export const unknownTarget = (typed: string, daemons: readonly string[]): OrchestratorError => {
  const meant = nearestName(typed, daemons);
  return new OrchestratorError('UNKNOWN_DAEMON', {
    message: `cannot find a daemon named ${quoted(typed)} in this fleet`,
    remedy: meant === null ? '"master_loop status" lists the daemons of the fleet' : `did you mean ${meant}?`,
    context: { daemon: typed },
  });
};

/** @param fit  daemons that could be targets now */
export const unfitTarget = (drill: string, daemon: string, why: string, fit: readonly string[]): OrchestratorError =>
  drillArguments(
    `cannot rehearse ${drill} on ${daemon}: ${why}`,
    fit.length === 0
      ? 'no daemon of this fleet can be its target now; "master_loop drill list" says what each drill needs'
      : `it can be done to ${someOf(fit)}`,
  );

export const drillRefused = (what: string, holder: string): OrchestratorError =>
  new OrchestratorError('REFUSED', {
    message: `cannot ${what}: ${holder}`,
    remedy:
      'wait for it ("master_loop status" and "master_loop drill report" show how far it is), or heal what was injected with "master_loop drill heal"',
    context: { holder },
  });

export const unknownResult = (typed: string, ids: readonly string[]): OrchestratorError => {
  const meant = nearestName(typed, ids);
  return drillArguments(
    `cannot find a drill result named ${quoted(typed)}`,
    ids.length === 0
      ? 'no drill was run yet; "master_loop drill run DRILL" runs one'
      : `did you mean ${meant ?? ids[0] ?? ''}? "master_loop drill report" lists all`,
  );
};
