/**
 * Events that shell scripts and cron drop as files: `inbox/NAME.json` holding {"topic": …, "body": {…}}.
 *
 * Each file is published exactly once. The event's id is made from the file (name, time of writing, content), it is
 * published durably, and only then the file moves to done/. A crash in between leaves the file; the next round publishes
 * it again under the same id, which the router recognises, and moves it. The time of writing is part of the id because a
 * cron job may well drop the same name and content every hour and mean it each time; a rename keeps it, so it is stable.
 *
 * A file that cannot be an event goes to bad/ with the reason beside it. One that is being written is told from a bad one
 * by its age: scripts should write elsewhere and rename, but those that do not get a grace.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { messageOf, OrchestratorError } from '../errors.ts';
import type { Clock } from '../seams/clock.ts';
import type { FileSystem } from '../seams/file-system.ts';
import type { PublishOptions, PublishReceipt } from './types.ts';

/** A file that is no JSON yet and younger than this is left for the next round. */
const GRACE_MS = 2_000;
const FILE_BYTES_MAX = 4 * 1024 * 1024;
/** Files taken in one round; the rest waits for the next, so that a flood does not hold up a stop. */
const FILES_AT_ONCE = 500;

export interface InboxTools {
  readonly files: FileSystem;
  readonly clock: Clock;
  /** Absolute path; done/ and bad/ are made below it. */
  readonly folder: string;
  /** Resolves when the event is durable. */
  publish(topic: string, body: unknown, options: PublishOptions): Promise<PublishReceipt>;
}

export type InboxOutcome =
  | { readonly file: string; readonly outcome: 'published' | 'seen-before'; readonly receipt: PublishReceipt }
  | { readonly file: string; readonly outcome: 'bad'; readonly reason: string }
  /** Still being written, or gone meanwhile: nothing was done. */
  | { readonly file: string; readonly outcome: 'left' };

interface Dropped {
  readonly topic: string;
  readonly body: unknown;
  readonly id: string;
}

class BadFile extends Error {
  /** It may just be unfinished. */
  readonly partial: boolean;
  constructor(reason: string, partial = false) {
    super(reason);
    this.partial = partial;
  }
}

const parseDropped = (name: string, modifiedMs: number, bytes: Uint8Array): Dropped => {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new BadFile('it is not UTF-8', true);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw new BadFile(`it is not JSON: ${messageOf(thrown)}`, true);
  }
  const { topic, body, id } = (value ?? {}) as { topic?: unknown; body?: unknown; id?: unknown };
  if (typeof topic !== 'string') throw new BadFile('it has no "topic"; expected {"topic": "NAME", "body": {…}}');
  if (id !== undefined && typeof id !== 'string') throw new BadFile('its "id" is no text');
  const digest = createHash('sha256').update(name).update('\0').update(String(modifiedMs)).update('\0').update(bytes);
  return { topic, body: body ?? {}, id: id ?? `inbox:${digest.digest('hex').slice(0, 40)}` };
};

/** `folder/name`, or with a number in it when that is taken. */
const freePath = (files: FileSystem, folder: string, name: string): string => {
  const [, stem, extension] = /^(.*?)(\.[^.]*)?$/.exec(name)!;
  for (let copy = 1; ; copy++) {
    const path = join(folder, copy === 1 ? name : `${stem}.${copy}${extension ?? ''}`);
    if (!files.exists(path)) return path;
  }
};

/**
 * Publishes one file and puts it away.
 * @throws (rejects) OUTBOX_FULL and whatever else the router answers that is not the file's fault; the file stays
 */
export const publishInboxFile = async (tools: InboxTools, name: string): Promise<InboxOutcome> => {
  const { files, clock, folder, publish } = tools;
  const path = join(folder, name);
  let age = Infinity;
  try {
    const stat = files.stat(path);
    if (stat.isDirectory) return { file: name, outcome: 'left' };
    age = clock.wallMs() - stat.modifiedMs;
    if (stat.bytes > FILE_BYTES_MAX) throw new BadFile(`it has ${stat.bytes} bytes, the limit is ${FILE_BYTES_MAX}`);
    const { topic, body, id } = parseDropped(name, stat.modifiedMs, files.read(path));
    const receipt = await publish(topic, body, { id });
    files.makeFolder(join(folder, 'done'));
    files.rename(path, freePath(files, join(folder, 'done'), name));
    return { file: name, outcome: receipt.stored ? 'published' : 'seen-before', receipt };
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT') return { file: name, outcome: 'left' };
    const itsFault =
      thrown instanceof BadFile ||
      (thrown instanceof OrchestratorError && (thrown.code === 'EVENT_INVALID' || thrown.code === 'EVENT_UNDECLARED'));
    if (!itsFault) throw thrown;
    if (thrown instanceof BadFile && thrown.partial && age >= 0 && age < GRACE_MS)
      return { file: name, outcome: 'left' };
    const reason = thrown.message;
    files.makeFolder(join(folder, 'bad'));
    const target = freePath(files, join(folder, 'bad'), name);
    files.writeAtomically(`${target}.reason.txt`, `${reason}\n`);
    files.rename(path, target);
    return { file: name, outcome: 'bad', reason };
  }
};

/** One round over the inbox, oldest name first. */
export const publishInbox = async (tools: InboxTools): Promise<InboxOutcome[]> => {
  tools.files.makeFolder(tools.folder); // somebody may have taken it away
  const names = tools.files
    .list(tools.folder)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .sort()
    .slice(0, FILES_AT_ONCE);
  const outcomes: InboxOutcome[] = [];
  for (const name of names) outcomes.push(await publishInboxFile(tools, name));
  return outcomes;
};

/** Files kept in each drawer. A bad one counts twice: its reason lies beside it. */
export const DRAWER_FILES_MAX = 5_000;
/** A drawer that is too full is emptied to this share, so that it need not be looked through again for every file. */
const DRAWER_SHARE_KEPT = 0.9;

/**
 * Deletes the oldest of what was put away, by the time of their writing, in a drawer that holds more than `most` files.
 * @returns how many files each drawer holds now, and how many were deleted
 */
export const tidyInbox = (
  { files, folder }: Pick<InboxTools, 'files' | 'folder'>,
  most = DRAWER_FILES_MAX,
): { readonly done: number; readonly bad: number; readonly removed: number } => {
  let removed = 0;
  const tidy = (drawer: string): number => {
    const place = join(folder, drawer);
    if (!files.exists(place)) return 0;
    const names = files.list(place);
    if (names.length <= most) return names.length;
    const over = names
      .map((name) => join(place, name))
      .map((path) => ({ path, modifiedMs: files.stat(path).modifiedMs }))
      .sort((one, other) => other.modifiedMs - one.modifiedMs)
      .slice(Math.floor(most * DRAWER_SHARE_KEPT));
    for (const { path } of over) files.remove(path);
    removed += over.length;
    return names.length - over.length;
  };
  return { done: tidy('done'), bad: tidy('bad'), removed };
};
