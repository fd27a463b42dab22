/**
 * The restart storm as the core sees it: when the breaker opens, somebody is told which daemon the failures hang from, and
 * restarts of daemons that are not critical are held (conditions.ts) until it closes. When it opens and closes is decided
 * in lifecycle/storm-breaker.ts.
 */
import type { Member } from '../member.ts';
import { tryStart } from './conditions.ts';
import type { CoreState } from './state.ts';

/** A failure has just opened the breaker. */
export const stormOpened = (core: CoreState): void => {
  const root = stormRoot(core);
  core.effects.push({
    do: 'alert',
    alert: {
      name: 'storm',
      daemon: root,
      message: `restart storm: ${core.storm.failing(core.at).size} daemons keep failing; restarts of non-critical daemons are held. Likely root: ${root}`,
      resolved: false,
    },
  });
  core.arm('storm', core.storm.tryClose(core.at) ?? 0);
};

/** The daemon that most of the failures hang from: a failing one, or something they depend on that is not up. */
const stormRoot = (core: CoreState): string => {
  const failing = core.storm.failing(core.at);
  const score = new Map<Member, number>();
  for (const [type, count] of failing) {
    const seen = new Set<Member>([core.known(type)]);
    for (const member of seen) {
      if (failing.has(member.type) || !member.isUp()) score.set(member, (score.get(member) ?? 0) + count);
      for (const edge of member.needs) if (edge.kind === 'hard') seen.add(edge.on);
    }
  }
  let best: Member | null = null;
  for (const [member, value] of score) {
    const top: number = best === null ? -1 : (score.get(best) ?? 0);
    if (value > top || (value === top && best !== null && dependsOn(best, member))) best = member;
  }
  return best?.type ?? 'unknown';
};

const dependsOn = (from: Member, on: Member): boolean => {
  const seen = new Set<Member>([from]);
  for (const member of seen) {
    if (member === on) return true;
    for (const edge of member.needs) if (edge.kind === 'hard') seen.add(edge.on);
  }
  return false;
};

/** It may have been quiet for long enough; if not, it is asked again when it may. */
export const stormCalms = (core: CoreState): void => {
  const left = core.storm.tryClose(core.at);
  if (left === null) return;
  if (left > 0) {
    core.arm('storm', left);
    return;
  }
  core.effects.push({
    do: 'alert',
    alert: { name: 'storm', daemon: '', message: 'the restart storm is over; held restarts go on', resolved: true },
  });
  for (const member of core.members) {
    if (!member.heldByStorm) continue;
    member.heldByStorm = false;
    tryStart(core, member);
  }
};
