/**
 * What a daemon may be called, and which name somebody probably meant.
 *
 * Names become object keys, metric labels, file names, URL segments and words on a command line, so the rule is the
 * narrow one that is safe in all of them: a letter, then letters, digits, `_`, `.` and `-`. Members that every object
 * has (`constructor`, `toString`) fit that rule and are refused on top of it: one plain `record[name]` anywhere would find
 * a function under them. Refusing is preferred to escaping, because an escaped name differs from the one people typed.
 */
export const NAME_CHARACTERS_MAX = 128; // chosen: fits a file name (255 bytes) with room for a suffix

const NAME = /^[A-Za-z][A-Za-z0-9_.-]*$/;
const WRONG_CHARACTER = /[^A-Za-z0-9_.-]/u;
/** Characters that would move the cursor, hide, or reorder the text around them when printed. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;
const QUOTED_CHARACTERS_MAX = 60; // chosen: half a terminal line

const codePoint = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;

/** Anything as one short, printable, quoted word for a message; hostile characters are shown, never printed. */
export const quoted = (value: unknown): string => {
  if (typeof value !== 'string') return `${String(value)} (${value === null ? 'null' : typeof value})`;
  const start = value.slice(0, QUOTED_CHARACTERS_MAX).replace(/["\\]/g, '\\$&');
  const shown = start.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`);
  return value.length > QUOTED_CHARACTERS_MAX ? `"${shown}…" (${value.length} characters)` : `"${shown}"`;
};

/** Why this cannot be the name of a daemon, as the end of the sentence "it …"; null when it can. */
export const nameFault = (name: unknown): string | null => {
  if (typeof name !== 'string') return `is of type ${name === null ? 'null' : typeof name}, and a name is text`;
  if (name === '') return 'is empty';
  if (name.length > NAME_CHARACTERS_MAX) return `has ${name.length} characters, and ${NAME_CHARACTERS_MAX} is the most`;
  if (!NAME.test(name)) {
    const wrong = WRONG_CHARACTER.exec(name);
    if (wrong === null) return `begins with "${name.charAt(0)}", and a name begins with a letter from A to Z or a to z`;
    const seen = wrong[0] === ' ' ? 'a space' : `${quoted(wrong[0])} (${codePoint(wrong[0])})`;
    return `has ${seen} at character ${wrong.index + 1}, and only A-Z, a-z, 0-9, "_", "." and "-" are allowed`;
  }
  if (name in Object.prototype) return 'is a word that every JavaScript object already answers to';
  return null;
};

export const isDaemonName = (name: unknown): name is string => nameFault(name) === null;

/** Case and the kind of separator are what people get wrong without seeing it, so they cost nothing. */
const folded = (name: string): string => name.toLowerCase().replace(/[\s.-]/g, '_');

/**
 * Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
 * @returns the distance, or `limit + 1` as soon as it is known to be above `limit`
 * @see optimal string alignment (Damerau 1964, restricted). O(length of a × length of b).
 */
export const editDistance = (a: string, b: string, limit = Infinity): number => {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row += 1) {
    const line = [row];
    let best = row;
    for (let column = 1; column <= b.length; column += 1) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(last[column]! + 1, line[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1));
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, before[column - 2]! + 1);
      }
      line.push(cost);
      if (cost < best) best = cost;
    }
    // A swap reaches two rows back, so the bound may only be drawn when both of them are above it.
    if (best > limit && Math.min(...last) > limit) return limit + 1;
    before = last;
    last = line;
  }
  return Math.min(last[b.length]!, limit + 1);
};

/** Half a second of comparisons for a file in which everything is misspelt; past it faults come without a suggestion. */
const COMPARED_CELLS_MAX = 30_000_000;

/**
 * Finds the valid name nearest to a misspelt one. Further away than 40 % of its letters is no suggestion but a guess.
 * @returns a finder that remembers its answers; the earliest candidate wins a tie, null means nothing is near
 */
export const nearestAmong = (candidates: Iterable<string>): ((name: unknown) => string | null) => {
  let pool: readonly { readonly name: string; readonly folded: string }[] | null = null;
  const answers = new Map<string, string | null>();
  let cellsLeft = COMPARED_CELLS_MAX;
  return (name) => {
    if (typeof name !== 'string' || name.length > 2 * NAME_CHARACTERS_MAX) return null;
    const known = answers.get(name);
    if (known !== undefined) return known;
    pool ??= Array.from(candidates, (candidate) => ({ name: candidate, folded: folded(candidate) }));
    const wanted = folded(name);
    let limit = Math.max(name.length > 1 ? 1 : 0, Math.floor(wanted.length * 0.4));
    let nearest: string | null = null;
    for (const candidate of pool) {
      cellsLeft -= 1;
      if (Math.abs(candidate.folded.length - wanted.length) > limit) continue;
      cellsLeft -= candidate.folded.length * wanted.length;
      if (cellsLeft <= 0) break;
      const distance = editDistance(wanted, candidate.folded, limit);
      if (distance > limit) continue;
      nearest = candidate.name;
      limit = distance - 1;
      if (limit < 0) break;
    }
    answers.set(name, nearest);
    return nearest;
  };
};

/** The one of `candidates` that `name` probably meant, or null. */
export const nearestName = (name: string, candidates: Iterable<string>): string | null =>
  nearestAmong(candidates)(name);
