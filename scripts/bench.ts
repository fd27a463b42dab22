/** Runs one measuring program of `bench/` by its name: `npm run bench NAME -- [its options]`. */
import { readdirSync } from 'node:fs';

const folder = new URL('../bench/', import.meta.url);
const names = readdirSync(folder).flatMap((file) => (file.endsWith('.js') ? [file.slice(0, -3)] : []));
const [name = '', ...rest] = process.argv.slice(2);
if (names.includes(name)) {
  process.argv.splice(2, process.argv.length, ...rest);
  await import(new URL(`${name}.js`, folder).href);
} else {
  console.error(`cannot measure ${name === '' ? 'nothing' : name}: npm run bench ${names.sort().join(' | ')}`);
  process.exitCode = 2;
}
