/**
 * Where the live process of a data directory can be reached.
 *
 * The kernel keeps 108 bytes for the path of a Unix socket and cuts a longer one without a word: two data directories
 * could then share one socket. So a longer path is refused here, before anybody binds or connects.
 */
import { join, resolve } from 'node:path';
import { OrchestratorError } from '../errors.ts';

/** Bytes; docs/contract.md "Files". Below the kernel's 108 with room for a terminator and other systems' 104. */
const SOCKET_PATH_BYTES_MAX = 100;

/** The control socket path would be cut silently by the kernel. */
export const socketPathTooLong = (path: string, bytes: number): OrchestratorError =>
  new OrchestratorError('SOCKET_PATH_TOO_LONG', {
    message: `cannot use ${path} as the control socket: its path has ${bytes} bytes, the limit is ${SOCKET_PATH_BYTES_MAX}`,
    remedy: 'choose a shorter --data-dir (a symbolic link to the long one works)',
    context: { path, bytes },
  });

/** `--data-dir`, else `$MASTER_LOOP_DATA_DIR`, else `./.master-loop`; absolute. */
export const resolveDataDir = (dataDir?: string): string =>
  resolve(dataDir ?? process.env['MASTER_LOOP_DATA_DIR'] ?? '.master-loop');

/** What a loop in the background prints. */
export const outputPath = (dataDir: string): string => join(dataDir, 'logs', 'master.out');

export const runFolder = (dataDir: string): string => join(dataDir, 'run');

/**
 * The control socket of a data directory.
 * @throws SOCKET_PATH_TOO_LONG when the kernel would cut it
 */
export const controlSocketPath = (dataDir: string): string => {
  const path = join(runFolder(dataDir), 'control.sock');
  const bytes = Buffer.byteLength(path);
  if (bytes > SOCKET_PATH_BYTES_MAX) throw socketPathTooLong(path, bytes);
  return path;
};

export const tokenPath = (dataDir: string): string => join(runFolder(dataDir), 'token');
export const logPath = (dataDir: string): string => join(dataDir, 'logs', 'coordination.log');
