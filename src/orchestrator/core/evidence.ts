/**
 * What is said of a daemon that runs: verdicts on its health, and whether it could prove its subscriptions after what it
 * listens to was away. Either may show that it is up and of no use, and then it is restarted.
 */
import type { Cause } from '../../lifecycle/states.ts';
import type { Member } from '../member.ts';
import type { Input } from '../types.ts';
import { requestStops } from './cascades.ts';
import { endReattach, REATTACH_MS } from './reattaching.ts';
import type { CoreState } from './state.ts';
import { killNow } from './stopping.ts';

type VerdictWord = Extract<Input, { readonly kind: 'verdict' }>['verdict'];

/** So many bad verdicts in a row restart it. One that does not answer is killed; the others are asked to stop. */
export const verdict = (
  core: CoreState,
  member: Member,
  generation: number,
  word: VerdictWord,
  message: string,
): void => {
  if (generation !== member.generation || member.state !== 'RUNNING' || member.stopWish !== null) return;
  if (word === 'unknown') return;
  core.touched.add(member);
  if (word === 'healthy' || word === 'degraded' || word === 'late') {
    member.streak = 0;
    return;
  }
  member.streak++;
  member.healthFailures++;
  if (member.streak < member.spec.health.failures) return;
  const why: Cause = member.drill ? 'drill' : word === 'missed' ? 'hung' : 'unhealthy';
  const text = `${member.streak} failed health checks in a row: ${message}`;
  member.rule = `${member.spec.health.failures} failed health checks in a row restart a daemon`;
  if (word === 'missed') {
    killNow(core, member, 'failure', why, text);
    return;
  }
  requestStops(core, [member], 'lost', { graceful: true, then: 'failure', why, message: text });
};

/** The answer to `reattach`. */
export const reattached = (core: CoreState, member: Member, generation: number, ok: boolean, message: string): void => {
  if (generation !== member.generation || !member.reattaching) return;
  endReattach(core, member);
  core.follows(member.reattachSeq);
  if (ok) {
    for (const edge of member.needs) if (edge.on.state === 'RUNNING') edge.lost = false;
    core.touched.add(member);
    return;
  }
  upgradeReattach(core, member, message);
};

/** No answer to `reattach` is an answer. */
export const reattachTooLate = (core: CoreState, member: Member): void => {
  if (!member.reattaching) return;
  member.reattaching = false;
  core.follows(member.reattachSeq);
  upgradeReattach(core, member, `no proof within ${REATTACH_MS / 1000} s`);
};

/** It could not prove its subscriptions in time: a restart does what re-attaching could not. */
const upgradeReattach = (core: CoreState, member: Member, message: string): void => {
  if (member.state !== 'RUNNING' || member.stopWish !== null) return;
  member.rule = 're-attaching failed within its deadline: upgraded to a restart';
  member.countRestart(core.wallMs);
  member.startWhy = 'dependency-lost';
  requestStops(core, [member], 'lost', {
    graceful: true,
    then: 'wait',
    why: 'dependency-lost',
    message: `re-attach failed: ${message}`,
  });
};
