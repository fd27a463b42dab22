/**
 * Text as it stands on a screen: how many cells it takes, cut and padded to a number of cells, and harmless.
 *
 * What a daemon says of itself (an error message, a reason) is somebody else's text. On a terminal it could move the
 * cursor, recolour the screen or hide; so everything foreign passes `printable` before it is shown, and control and
 * reordering characters come out as visible stand-ins.
 */

/** Characters that move the cursor, hide, or reorder the text around them; tabs and line breaks become spaces before. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
/** Wide in every terminal: CJK, Hangul, full-width forms, emoji. @see Unicode Standard Annex 11, East Asian Width. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const COMBINING = /[\p{Mn}\p{Me}]/u;
const PLAIN_ASCII = /^[\x20-\x7e]*$/;

/** One line that cannot do anything to the terminal it is printed on. */
export const printable = (text: string): string =>
  PLAIN_ASCII.test(text) ? text : text.replace(/[\t\r\n\v\f]+/g, ' ').replace(UNPRINTABLE, '\ufffd');

const cellsOf = (character: string): number => (WIDE.test(character) ? 2 : COMBINING.test(character) ? 0 : 1);

/** Cells that `text` (printable, without escape sequences) takes. */
export const width = (text: string): number => {
  if (PLAIN_ASCII.test(text)) return text.length;
  let cells = 0;
  for (const character of text) cells += cellsOf(character);
  return cells;
};

/** `text` in at most `cells` cells; what was cut off is marked by `mark`. */
export const cut = (text: string, cells: number, mark = '…'): string => {
  if (width(text) <= cells) return text;
  const room = cells - width(mark);
  if (room <= 0) return cells <= 0 ? '' : mark.slice(0, cells);
  let kept = '';
  let used = 0;
  for (const character of text) {
    used += cellsOf(character);
    if (used > room) break;
    kept += character;
  }
  return kept + mark;
};

/** `text` in exactly `cells` cells. */
export const fit = (text: string, cells: number, align: 'left' | 'right' = 'left', mark = '…'): string => {
  const shown = cut(text, cells, mark);
  const gap = ' '.repeat(Math.max(0, cells - width(shown)));
  return align === 'left' ? shown + gap : gap + shown;
};

/** `text` broken at spaces into lines of at most `cells` cells; a longer word is broken anywhere. */
export const wrap = (text: string, cells: number): string[] => {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (width(longer) <= cells) {
      line = longer;
      continue;
    }
    if (line !== '') lines.push(line);
    line = word;
    while (width(line) > cells) {
      const part = cut(line, cells, '');
      if (part === '') return [...lines, cut(line, cells)];
      lines.push(part);
      line = line.slice(part.length);
    }
  }
  return [...lines, line];
};

/** Our own marks where a terminal knows ASCII only; one cell for one cell, so that nothing moves. */
const ASCII_FOR: Readonly<Record<string, string>> = {
  '…': '~',
  '→': '>',
  '·': '|',
  '─': '-',
  '│': '|',
  '▸': '>',
  '±': '~',
  '├': '[',
  '┤': ']',
  '●': 'o',
  '▁': '_',
  '▂': '.',
  '▃': '-',
  '▄': '=',
  '▅': '+',
  '▆': '*',
  '▇': '%',
  '█': '#',
};

/** `text` without anything beyond ASCII, in as many cells; what has no stand-in becomes `?`. */
export const asciiOnly = (text: string): string =>
  PLAIN_ASCII.test(text)
    ? text
    : text.replace(/[^\0-\x7e]/gu, (character) => ASCII_FOR[character] ?? '?'.repeat(cellsOf(character)));
