/**
 * From one screen to the next with as few bytes as may be: only lines that differ are written, each at its own place,
 * which is erased first: erased afterwards, a line as wide as the screen would lose its last cell. Nothing is ever
 * written below the last line, so nothing scrolls.
 */
const ESC = '\x1b[';

/**
 * @param before  the lines on the screen; empty when nothing is known of it
 * @returns what to write; empty when nothing changed
 */
export const screenChange = (before: readonly string[], after: readonly string[]): string => {
  let change = '';
  for (const [index, line] of after.entries()) {
    if (before[index] !== line) change += `${ESC}${index + 1};1H${ESC}K${line}`;
  }
  for (let index = after.length; index < before.length; index += 1) change += `${ESC}${index + 1};1H${ESC}K`;
  // Drawn as one picture by terminals that know synchronised output, ignored by the others.
  return change === '' ? '' : `${ESC}?2026h${change}${ESC}?2026l`;
};

export const CLEAR_SCREEN = `${ESC}2J`;
