/** Plays a document from its first line to its last and checks every block: its exit code, and what it says it prints. */
import { expect } from 'chai';
import { patternOf, type Block } from './document.ts';
import type { Said, Stage } from './stage.ts';

const checkPrints = ({ prints, source }: Block, { text }: Said): void => {
  if (prints === null) return;
  // A screen and some programs end lines in their own way.
  const plain = `${text.replaceAll('\r\n', '\n').trimEnd()}\n`;
  expect(plain, `what it says it prints is not what it printed:\n${source}\n---\n${text}\n---\n`).to.match(
    patternOf(prints),
  );
};

/**
 * One test a block. After one that failed the rest is not played: nobody knows what a block meets then.
 * @param stage  asked when the test runs, since it is opened by a hook
 */
export const play = (blocks: readonly Block[], stage: () => Stage): void => {
  let playing: number | null = null;
  for (const block of blocks.filter(({ way }) => way !== 'not run')) {
    const [first = ''] = block.source.split('\n').filter((line) => !/^(#|import|$)/.test(line));
    it(`${block.under}, line ${block.line}: ${first.slice(0, 60)}`, async () => {
      if (playing !== null) throw new Error(`not played: the block at line ${playing} failed`);
      playing = block.line;
      const { said, beside } = await stage().run(block);
      if (block.way !== 'beside') {
        expect(said.code, `${block.source}\n---\n${said.text}`).to.equal(0);
        checkPrints(block, said);
      }
      if (beside !== null) checkPrints(beside.block, beside.said);
      playing = null;
    });
  }
};
