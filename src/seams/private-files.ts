/**
 * Files that only their owner may use. `mkdir` and `listen` obey the umask and leave an existing mode alone, so a mode that
 * protects something is set again, after the fact, inside a folder that nobody else can enter meanwhile.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';

/** Makes the folder if it is missing; afterwards only its owner may enter it (0700). */
export const privateFolder = (path: string): void => {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
};

/** Only the owner may read and write it (0600); for a socket: connect. */
export const protect = (path: string): void => chmodSync(path, 0o600);

/** Removes what a dead process left at `path`, if it is a socket; anything else stays, and the bind will say so. */
export const removeStaleSocket = (path: string): void => {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path);
};
