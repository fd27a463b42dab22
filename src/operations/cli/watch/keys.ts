/**
 * What was typed, as names of keys. A terminal sends a special key as an escape sequence, and a fast typist (or a paste)
 * several keys at once; an escape that begins no known sequence is the escape key itself.
 */
export type Key =
  | { readonly name: 'char'; readonly char: string }
  | {
      readonly name:
        | 'up'
        | 'down'
        | 'page-up'
        | 'page-down'
        | 'home'
        | 'end'
        | 'enter'
        | 'escape'
        | 'backspace'
        | 'tab'
        | 'interrupt'
        | 'suspend'
        | 'redraw';
    };

type SpecialName = Exclude<Key['name'], 'char'>;

/** Sequences of xterm, VT220 and the Linux console. @see XTerm Control Sequences, "PC-Style Function Keys". */
const SEQUENCES: Readonly<Record<string, SpecialName>> = {
  '[A': 'up',
  OA: 'up',
  '[B': 'down',
  OB: 'down',
  '[5~': 'page-up',
  '[6~': 'page-down',
  '[H': 'home',
  OH: 'home',
  '[1~': 'home',
  '[7~': 'home',
  '[F': 'end',
  OF: 'end',
  '[4~': 'end',
  '[8~': 'end',
};

const CONTROLS: Readonly<Record<string, SpecialName>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\x03': 'interrupt',
  '\x04': 'interrupt',
  '\x08': 'backspace',
  '\x0c': 'redraw',
  '\x1a': 'suspend',
  '\x7f': 'backspace',
};

// eslint-disable-next-line no-control-regex -- escape sequences begin with that control character
const ESCAPE = /^\x1b(\[[0-?]*[ -/]*[@-~]|O[@-~])/;

/** Keys in the order typed; sequences of keys that mean nothing here are dropped whole. */
export const keysOf = (typed: string): Key[] => {
  const keys: Key[] = [];
  let rest = typed;
  while (rest !== '') {
    const sequence = ESCAPE.exec(rest);
    if (sequence !== null) {
      const name = SEQUENCES[sequence[1] ?? ''];
      if (name !== undefined) keys.push({ name });
      rest = rest.slice(sequence[0].length);
      continue;
    }
    const character = String.fromCodePoint(rest.codePointAt(0) ?? 0);
    rest = rest.slice(character.length);
    const control = CONTROLS[character];
    if (character === '\x1b') keys.push({ name: 'escape' });
    else if (control !== undefined) keys.push({ name: control });
    else if (character >= ' ') keys.push({ name: 'char', char: character });
  }
  return keys;
};
