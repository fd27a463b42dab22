/**
 * Where a thread or a child program starts: the one place that turns a module of ours into something Node can run.
 *
 * From dist a module is a plain .js file. From source (tsx in development) a worker does not inherit the loader, so its
 * entry is a data: bootstrap that registers tsx first and then imports the module.
 */
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { WorkerOptions } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';

const FROM_SOURCE = import.meta.url.endsWith('.ts');

/** A file of the tsx package; resolved without import.meta.resolve, which a test runner that loads us as CommonJS lacks. */
const tsxFile = (path: string): string =>
  new URL(path, pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'))).href;

/** The URL of a module named relative to `base` (an import.meta.url), with the extension it has in this run. */
export const moduleUrl = (relativeTs: string, base: string): URL =>
  new URL(FROM_SOURCE ? relativeTs : relativeTs.replace(/\.ts$/, '.js'), base);

/** Starts a worker thread on a module of ours: `startThread('./router-thread.ts', import.meta.url, { workerData })`. */
export const startThread = (relativeTs: string, base: string, options: WorkerOptions = {}): Worker => {
  const target = moduleUrl(relativeTs, base);
  if (!FROM_SOURCE) return new Worker(target, options);
  const tsx = tsxFile('dist/esm/api/index.mjs');
  const bootstrap = `import { register } from ${JSON.stringify(tsx)}; register(); await import(${JSON.stringify(target.href)});`;
  return new Worker(new URL(`data:text/javascript,${encodeURIComponent(bootstrap)}`), options);
};

/** argv that runs a module of ours as a child program with this Node. */
export const programCommand = (relativeTs: string, base: string, args: readonly string[] = []): string[] => {
  const file = fileURLToPath(moduleUrl(relativeTs, base));
  const loader = FROM_SOURCE ? ['--import', tsxFile('dist/loader.mjs')] : [];
  return [process.execPath, ...loader, file, ...args];
};

/** The folder of the package: where fleets/ and package.json are, from source and from dist alike. */
export const packageRoot = (): string =>
  fileURLToPath(FROM_SOURCE ? new URL('../../', import.meta.url) : new URL('../../../', import.meta.url));
