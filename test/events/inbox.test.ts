import { expect } from 'chai';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OrchestratorError } from '../../src/errors.ts';
import { publishInbox, publishInboxFile, type InboxTools } from '../../src/events/inbox.ts';
import { realClock } from '../../src/seams/clock.ts';
import { realFileSystem } from '../../src/seams/real-file-system.ts';

const GOOD = '{"topic": "COUNTED", "body": {"n": 1}}';

describe('The inbox', () => {
  let folder: string;
  let published: { readonly topic: string; readonly body: unknown; readonly id: string | undefined }[];
  /** Thrown instead of publishing. */
  let refusal: Error | null;
  let tools: InboxTools;
  const drop = (name: string, text: string | Uint8Array, ageSeconds = 60): void => {
    writeFileSync(join(folder, name), text);
    const at = Date.now() / 1000 - ageSeconds;
    utimesSync(join(folder, name), at, at);
  };
  const round = async (): Promise<string[]> =>
    (await publishInbox(tools)).map(({ file, outcome }) => `${file} ${outcome}`);
  const lies = (...parts: string[]): boolean => existsSync(join(folder, ...parts));

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'inbox-test-'));
    published = [];
    refusal = null;
    tools = {
      ...{ files: realFileSystem(), clock: realClock(), folder },
      publish(topic, body, { id }) {
        if (refusal !== null) return Promise.reject(refusal);
        const stored = !published.some((one) => one.id === id);
        if (stored) published.push({ topic, body, id });
        return Promise.resolve({ id: id!, offset: published.length, stored });
      },
    };
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('publishes each file once, under an id made of it, and puts it away when the event is durable', async () => {
    drop('a.json', GOOD);
    drop('b.json', '{"topic": "NAMED", "body": {"name": "x"}, "id": "mine"}');
    drop('notes.txt', 'not for us');
    expect(await round()).to.deep.equal(['a.json published', 'b.json published']);
    expect(published.map(({ topic, body }) => [topic, body])).to.deep.equal([
      ['COUNTED', { n: 1 }],
      ['NAMED', { name: 'x' }],
    ]);
    expect(published[0]!.id).to.match(/^inbox:[0-9a-f]{40}$/);
    expect(published[1]!.id).to.equal('mine');
    expect(readdirSync(join(folder, 'done')).sort()).to.deep.equal(['a.json', 'b.json']);
    expect(await round()).to.deep.equal([]);
  });

  it('recognises a file that was published before a crash and not put away', async () => {
    drop('a.json', GOOD, 60);
    const { rename } = tools.files;
    tools = {
      ...tools,
      files: {
        ...tools.files,
        rename: () => {
          throw new Error('killed here');
        },
      },
    };
    await round().then(
      () => expect.fail('it should have been cut off'),
      (thrown: Error) => expect(thrown.message).to.equal('killed here'),
    );
    tools = { ...tools, files: { ...tools.files, rename } };
    expect(await round()).to.deep.equal(['a.json seen-before']);
    expect(published).to.have.length(1);
  });

  for (const [what, text, reason] of [
    ['is no UTF-8', new Uint8Array([0x7b, 0xff, 0xfe]), 'it is not UTF-8'],
    ['is no JSON', '{"topic": ', 'it is not JSON'],
    ['has no topic', '{"body": {}}', 'it has no "topic"'],
    ['has an id that is no text', '{"topic": "COUNTED", "id": 7}', 'its "id" is no text'],
    ['has more bytes than an event may', ' '.repeat(4 * 1024 * 1024 + 1), 'the limit is 4194304'],
  ] as const)
    it(`sets a file aside that ${what}, with the reason beside it`, async () => {
      drop('a.json', text);
      mkdirSync(join(folder, 'bad'));
      writeFileSync(join(folder, 'bad', 'a.json'), 'an earlier one');
      expect(await round()).to.deep.equal(['a.json bad']);
      expect(published).to.deep.equal([]);
      expect(lies('a.json')).to.equal(false);
      expect(readFileSync(join(folder, 'bad', 'a.2.json.reason.txt'), 'utf8')).to.include(reason);
      expect(readFileSync(join(folder, 'bad', 'a.json'), 'utf8')).to.equal('an earlier one');
    });

  for (const [what, text] of [
    ['JSON', '{"topic": "COUN'],
    ['UTF-8', new Uint8Array([0x22, 0xc3])],
  ] as const)
    it(`leaves a young file that is no ${what} yet to whoever writes it`, async () => {
      drop('a.json', text, 0);
      expect(await round()).to.deep.equal(['a.json left']);
      drop('a.json', GOOD, 0);
      expect(await round()).to.deep.equal(['a.json published']);
    });

  it('does not wait for a young file that is whole and wrong', async () => {
    drop('a.json', '{"body": {}}', 0);
    expect(await round()).to.deep.equal(['a.json bad']);
  });

  it('leaves a folder, and a file that is gone when its turn comes', async () => {
    mkdirSync(join(folder, 'odd.json'));
    expect(await round()).to.deep.equal(['odd.json left']);
    expect(await publishInboxFile(tools, 'gone.json')).to.deep.equal({ file: 'gone.json', outcome: 'left' });
  });

  it('sets an event aside that the router does not know, and keeps one that it cannot take now', async () => {
    const error = (code: 'EVENT_UNDECLARED' | 'OUTBOX_FULL'): OrchestratorError =>
      new OrchestratorError(code, { message: `cannot publish: ${code}`, remedy: 'none' });
    drop('a.json', GOOD);
    refusal = error('OUTBOX_FULL');
    await round().then(
      () => expect.fail('the round should have ended'),
      (thrown: OrchestratorError) => expect(thrown.code).to.equal('OUTBOX_FULL'),
    );
    expect(lies('a.json')).to.equal(true);
    refusal = error('EVENT_UNDECLARED');
    expect(await round()).to.deep.equal(['a.json bad']);
    expect(readFileSync(join(folder, 'bad', 'a.json.reason.txt'), 'utf8')).to.include('EVENT_UNDECLARED');
  });
});
