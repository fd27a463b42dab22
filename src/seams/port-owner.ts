/**
 * Who listens on a TCP port of this machine, so that "address in use" can name a program instead of leaving a riddle.
 * /proc/net/tcp tells the socket's inode, and the process that holds a descriptor of it is its owner. A process of another
 * user hides its descriptors from us; then only its user is known.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface PortOwner {
  readonly pid: number | null;
  /** Its command line, cut at 200 characters; null when it cannot be read. */
  readonly command: string | null;
  /** Numeric user id. */
  readonly user: number | null;
}

/** State 0A of /proc/net/tcp is LISTEN. */
const LISTEN = '0A';

const readOr = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // no such file on this system, or the process is gone: nothing to tell
  }
};

const listOr = (path: string): string[] => {
  try {
    return readdirSync(path);
  } catch {
    return []; // another user's process, or gone
  }
};

const listenerOf = (port: number): { inode: string; user: number } | null => {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readOr(file).split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === LISTEN && fields[1]?.endsWith(`:${hexPort}`) === true && fields[9] !== undefined)
        return { inode: fields[9], user: Number(fields[7]) };
    }
  }
  return null;
};

/** The owner of a listening port; null when nobody listens there, or this system does not tell. */
export const portOwner = (port: number): PortOwner | null => {
  const listener = listenerOf(port);
  if (listener === null) return null;
  const target = `socket:[${listener.inode}]`;
  for (const pid of listOr('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of listOr(`/proc/${pid}/fd`)) {
      try {
        if (readlinkSync(`/proc/${pid}/fd/${descriptor}`) !== target) continue;
      } catch {
        continue; // closed meanwhile
      }
      const command = readOr(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim().slice(0, 200);
      return { pid: Number(pid), command: command === '' ? null : command, user: listener.user };
    }
  }
  return { pid: null, command: null, user: listener.user };
};
