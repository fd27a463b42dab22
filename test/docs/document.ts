/**
 * A Markdown document as what a reader may type and what he is told he will see.
 *
 * A fenced block of `bash` or `js` is meant to be run, and a `text` block right after it is what it prints. What stands in
 * an HTML comment right before a block says how it is run when not as it stands:
 *   <!-- not run: why -->                    shown only; the reason is part of the document
 *   <!-- in a terminal, then the key q -->   needs a screen; the key is typed once something was drawn
 *   <!-- runs beside the next block -->      started before the next block and ended after it
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/seams/entry.ts';

export interface Block {
  readonly language: 'bash' | 'js';
  readonly source: string;
  /** Line of the document, 1-based. */
  readonly line: number;
  /** The heading it stands under. */
  readonly under: string;
  readonly way: 'plain' | 'terminal' | 'beside' | 'not run';
  readonly key: string;
  /** Why it is not run; empty when it is. */
  readonly reason: string;
  /** What the document says it prints; null: it does not say. */
  readonly prints: string | null;
}

const FENCE = /^( *)```(\w*)\s*$/;
const COMMENT = /^ *<!-- (.*?) -->$/;

const wayOf = (comment: string | null, where: string): Pick<Block, 'way' | 'key' | 'reason'> => {
  if (comment === null) return { way: 'plain', key: '', reason: '' };
  const [, reason] = /^not run: (.+)$/.exec(comment) ?? [];
  if (reason !== undefined) return { way: 'not run', key: '', reason };
  const [, key] = /^in a terminal, then the key (.)$/.exec(comment) ?? [];
  if (key !== undefined) return { way: 'terminal', key, reason: '' };
  if (comment === 'runs beside the next block') return { way: 'beside', key: '', reason: '' };
  throw new Error(`${where}: nobody knows how to run a block so: ${comment}`);
};

export const readDocument = (path: string): string => readFileSync(join(packageRoot(), path), 'utf8');

export const blocksOf = (path: string, text = readDocument(path)): Block[] => {
  const blocks: Block[] = [];
  const lines = text.split('\n');
  let under = '';
  let comment: string | null = null;
  /** A runnable block may be followed by what it prints, with nothing but blank lines between. */
  let mayPrint = false;
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const [, indent = '', language] = FENCE.exec(line) ?? [];
    if (language === undefined) {
      if (line.startsWith('#')) under = line.replace(/^#+ /, '');
      if (line !== '') mayPrint = false;
      const said = COMMENT.exec(line)?.[1];
      if (said !== undefined) comment = said;
      else if (line !== '') comment = null;
      continue;
    }
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end < 0) throw new Error(`${path}:${at + 1}: a block that does not end`);
    const source = lines
      .slice(at + 1, end)
      .map((inside) => (inside.startsWith(indent) ? inside.slice(indent.length) : inside))
      .join('\n');
    const last = blocks.at(-1);
    if (language === 'bash' || language === 'js') {
      const where = `${path}:${at + 1}`;
      blocks.push({ language, source, line: at + 1, under, ...wayOf(comment, where), prints: null });
      mayPrint = true;
    } else if (language === 'text' && mayPrint && last !== undefined) {
      blocks[blocks.length - 1] = { ...last, prints: source };
      mayPrint = false;
    } else mayPrint = false;
    comment = null;
    at = end;
  }
  return blocks;
};

/**
 * What is shown, as a pattern: a number stands for any number, a run of spaces for any run, `…` for the rest of a line,
 * and a line of nothing but `…` for any lines.
 */
export const patternOf = (shown: string): RegExp => {
  const lines = shown.split('\n').map((line) =>
    line.trim() === '…'
      ? '(?:.*\\n)*?'
      : `${line
          .trimEnd()
          .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
          .replace(/\d+(?:\\\.\d+)*/g, '[\\d.]+')
          .replace(/ +/g, ' +')
          .replace(/…/g, '.*')} *\\n`,
  );
  return new RegExp(`^${lines.join('')}`, 'm');
};
