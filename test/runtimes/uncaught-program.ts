/**
 * A program of its own, because the test runner has uncaught errors to itself: five daemons throw where nobody catches,
 * and one is well. Prints what the runtime made of each, as one line of JSON.
 */
import { onUncaught } from '../../src/seams/self.ts';
import { bareRuntime } from './support.ts';

const unowned: string[] = [];
const boom = (where: string) => (): never => {
  throw new Error(where);
};
const world = bareRuntime({
  TIMER: { create: () => ({ start: () => void setTimeout(boom('in a raw timer'), 5) }) },
  CONTEXT_TIMER: { create: ({ clock }) => ({ start: () => void clock.after(5, boom('in a timer of the context')) }) },
  REJECTION: { create: () => ({ start: () => void Promise.resolve().then(boom('in a promise nobody awaits')) }) },
  IMMEDIATE: { create: () => ({ start: () => void setImmediate(boom('in an immediate')) }) },
  MICROTASK: { create: () => ({ start: () => void queueMicrotask(boom('in a bare microtask')) }) },
  ENDED: {
    create: () => ({
      start() {
        setTimeout(boom('after its end'), 10);
        setTimeout(() => world.runtime.kill('ENDED', 1, false), 1);
      },
    }),
  },
  WELL: { create: () => ({}) },
});
onUncaught((error) => {
  if (!world.runtime.uncaught(error)) unowned.push((error as Error).message);
});
for (const { type } of world.fleet.daemons) world.runtime.launch(type, 1);
setTimeout(() => {
  console.log(JSON.stringify({ reports: world.reports, unowned, left: world.runtime.findLeft() }));
  process.exit(0);
}, 100);
