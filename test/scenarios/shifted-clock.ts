/**
 * Loaded into a process before anything else (`NODE_OPTIONS=--import=…`), its threads and its children: moves the wall
 * clock of all of them by the milliseconds in a file, whenever that changes, as somebody who sets the clock of the machine
 * would. Time that measures (`performance.now`, timers) goes on as it does then.
 */
import { readFileSync } from 'node:fs';

const file = process.env['SHIFTED_CLOCK'];
const LOOK_MS = 10;

if (file !== undefined) {
  const Real = Date;
  let shift = 0;
  const look = (): void => {
    try {
      shift = Number(readFileSync(file, 'utf8'));
    } catch {
      // Not written yet, or removed with the folder of the test.
    }
  };
  const now = (): number => Real.now() + shift;
  look();
  setInterval(look, LOOK_MS).unref();
  globalThis.Date = new Proxy(Real, {
    get: (target, key): unknown => (key === 'now' ? now : Reflect.get(target, key)),
    construct: (target, args: unknown[], as): Date =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, as) as Date,
    apply: () => new Real(now()).toString(),
  });
}
