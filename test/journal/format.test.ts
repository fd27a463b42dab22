import { expect } from 'chai';
import fc from 'fast-check';
import { OrchestratorError } from '../../src/errors.ts';
import {
  hexOf,
  journalFiles,
  lineOf,
  readCheckpoint,
  readSegment,
  recordJson,
  segmentName,
  seqOf,
  validLines,
  writeLine,
  type JournalRecord,
} from '../../src/journal/format.ts';

const headerJson = (format = 1): string => JSON.stringify({ journal: 'master-loop', format, after: 0 });

const segmentOf = (jsons: readonly string[]): Buffer => {
  const buffer = Buffer.alloc(jsons.join('').length * 3 + jsons.length * 10 + 10);
  let used = 0;
  let check = 0;
  for (const json of jsons) {
    const written = writeLine(buffer, used, json, check);
    used += written.bytes;
    check = written.check;
  }
  return buffer.subarray(0, used);
};

const record = fc.record({
  seq: fc.integer({ min: 1, max: 2 ** 40 }),
  cause: fc.option(fc.integer({ min: 1 })),
  kind: fc.constantFrom('input', 'transition', 'naïve "kind"\n'),
  at: fc.double({ min: 0, max: 1e12, noNaN: true }),
  wallMs: fc.integer({ min: 0 }),
  data: fc.jsonValue(),
});
const jsonOf = ({ seq, cause, kind, at, wallMs, data }: JournalRecord): string =>
  recordJson(seq, cause, kind, at, wallMs, JSON.stringify(data));
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('A segment', () => {
  it('reads back what was written, whatever the data', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 12 }), (records) => {
        const bytes = segmentOf([headerJson(), ...records.map(jsonOf)]);
        const segment = readSegment('segment', bytes);
        expect(segment?.lines.map((line) => segment.record(line))).to.deep.equal(plain(records));
        expect(segment?.lines.map((line) => seqOf(segment.bytes, line))).to.deep.equal(records.map(({ seq }) => seq));
        expect(segment?.tornBytes).to.equal(0);
      }),
      { numRuns: 80 },
    );
  });

  it('cut at any byte, keeps exactly the lines before the cut', () => {
    const jsons = [headerJson(), '{"seq":1,"data":"ä"}', '{"seq":2}', '{"seq":3,"data":[1,2]}'];
    const bytes = segmentOf(jsons);
    const ends = jsons.map((_, index) => segmentOf(jsons.slice(0, index + 1)).length);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const whole = ends.filter((end) => end <= cut).length;
      expect(validLines(bytes.subarray(0, cut)).lines, `cut at ${cut}`).to.have.length(whole);
    }
  });

  it('with any byte changed, keeps exactly the lines before that byte', () => {
    const jsons = [headerJson(), '{"seq":1}', '{"seq":2}', '{"seq":3}'];
    const bytes = segmentOf(jsons);
    const ends = jsons.map((_, index) => segmentOf(jsons.slice(0, index + 1)).length);
    for (let at = 0; at < bytes.length; at++)
      for (const flip of [1, 32, 255]) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ flip;
        const whole = ends.filter((end) => end <= at).length;
        expect(validLines(damaged).lines, `byte ${at} xor ${flip}`).to.have.length(whole);
      }
  });

  it('does not take a valid line of another place: one left out, one twice, two exchanged', () => {
    const jsons = [headerJson(), '{"seq":1}', '{"seq":2}', '{"seq":3}'];
    const lines = segmentOf(jsons)
      .toString()
      .split('\n')
      .slice(0, -1)
      .map((line) => `${line}\n`);
    const valid = (order: readonly number[]): number =>
      validLines(Buffer.from(order.map((index) => lines[index]).join(''))).lines.length;
    expect(valid([0, 1, 2, 3])).to.equal(4);
    expect(valid([0, 2, 3])).to.equal(1);
    expect(valid([0, 1, 1, 2])).to.equal(2);
    expect(valid([0, 2, 1, 3])).to.equal(1);
  });

  it('is text that people can grep', () => {
    const bytes = segmentOf([headerJson(), '{"seq":1,"data":{"daemon":"AUTO_SYNC"}}']);
    expect(bytes.toString().split('\n')[1]).to.match(/^[0-9a-f]{8} \{"seq":1,"data":\{"daemon":"AUTO_SYNC"\}\}$/);
    expect(hexOf(0xcbf43926)).to.equal('cbf43926');
    expect(lineOf('123456789').toString()).to.equal('cbf43926 123456789\n'); // the check value of CRC-32
  });

  it('without a whole header is none, and of a newer format is refused by name', () => {
    expect(readSegment('segment', Buffer.from('garbage'))).to.equal(null);
    expect(readSegment('segment', Buffer.alloc(0))).to.equal(null);
    const newer = (): unknown => readSegment('segment-7', segmentOf([headerJson(2)]));
    expect(newer).to.throw(OrchestratorError, 'cannot read segment-7: it has journal format 2');
    const checkpoint = (): unknown => readCheckpoint('checkpoint-7', lineOf('{"format":9,"seq":1}'));
    expect(checkpoint).to.throw(OrchestratorError, 'and this version knows formats up to 1');
  });
});

describe('The files of a journal', () => {
  it('are told from others, segments oldest first, checkpoints newest first', () => {
    const { segments, checkpoints } = journalFiles([
      segmentName(12, 900),
      segmentName(2, 0),
      'checkpoint-at-9.journal',
      'checkpoint-at-800.journal',
      '.checkpoint-at-900.journal.1.tmp',
      'notes.txt',
    ]);
    expect(segments.map(({ number, after }) => [number, after])).to.deep.equal([
      [2, 0],
      [12, 900],
    ]);
    expect(checkpoints.map(({ seq }) => seq)).to.deep.equal([800, 9]);
  });
});
