/**
 * A fleet file as a tree of values that know where they were written.
 *
 * The text is hostile until it has been read. The YAML library is exact but made for friendly input: nesting makes its
 * composer recurse, an indentation of millions of columns exhausts the heap inside a regular expression (which no catch
 * can stop), and resolving an alias searches the document again. So a pass over the raw tokens, linear and without
 * recursion, refuses what no fleet looks like before the library composes anything; and the library's nodes are walked
 * once, here, into plain values. That walk resolves aliases by itself: they share the value of their anchor, and the size
 * that a file would have with all of them written out is bounded, which is what an alias bomb trips over.
 */
import { CST, isAlias, isMap, isScalar, isSeq, Lexer, parseDocument, type Document, type Node } from 'yaml';
import { FaultList, type Path, type Place } from './faults.ts';
import { interpolate, type Environment } from './interpolation.ts';

/** Words and marks of one file. 10,000 daemons with three dependencies each have about 350,000. */
const TOKENS_MAX = 500_000;
/** Levels of nesting. The format itself needs seven; `config` may go deeper. */
const LEVELS_MAX = 64;
const INDENT_COLUMNS_MAX = 1_024;
/** Values a file may have with every alias written out, in characters; four times the largest file. */
const EXPANDED_CHARACTERS_MAX = 16 * 1024 * 1024;
const SYNTAX_FAULTS_MAX = 20; // chosen: after that many the parser has lost its place

interface Child {
  readonly keyOffset: number;
  readonly node: Located;
}

/** A value and where it stands. */
interface Located {
  value: unknown;
  readonly offset: number;
  /** As written, of a scalar; null for collections. */
  readonly raw: string | null;
  /** A variable of the environment took part in it. */
  readonly interpolated: boolean;
  readonly entries: Map<string, Child> | null;
  readonly items: Located[] | null;
  /** Characters with every alias written out; null while its inside is still being read. */
  size: number | null;
}

export interface FleetDocument {
  /** Maps, lists, text, numbers, booleans and null, with variables filled in. */
  readonly value: unknown;
  /** Where a value stands; of an absent one, where what should hold it stands. */
  place(path: Path): Place;
  /** Where the key of a value stands; for an entry of a list, the entry. */
  keyPlace(path: Path): Place;
  /** A scalar as written in the file, `${VAR}` included; null for maps, lists and what is absent. */
  rawAt(path: Path): string | null;
  isInterpolated(path: Path): boolean;
  has(path: Path): boolean;
  /** Entries of a list, as read; empty when there is no list. */
  listAt(path: Path): readonly unknown[];
  /** Keys of a map, in order; empty when there is no map. */
  keysAt(path: Path): readonly string[];
  /** A variable gave text where a number or a boolean is wanted: makes it one when it reads as one. */
  retype(path: Path, wanted: string): boolean;
}

const SMALLEST = 'the smallest fleet is: version: 1, name, and daemons with one entry';
const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;

/** Why no fleet looks like this, with the offset; null when the library may read it. One pass, no recursion. */
const refusal = (text: string): { readonly reason: string; readonly offset: number } | null => {
  let tokens = 0;
  let flowLevels = 0;
  let lineMarks = 0; // `- - - ?` on one line are levels too
  let before: string | null = 'newline';
  let offset = 0;
  for (const source of new Lexer().lex(text)) {
    // The lexer puts a mark of its own, which is not in the file, before the text of a scalar.
    const type: string | null = before === 'scalar' ? 'text' : CST.tokenType(source);
    tokens += 1;
    if (tokens > TOKENS_MAX) return { reason: `it has more than ${TOKENS_MAX} words and marks`, offset };
    if (type === 'flow-map-start' || type === 'flow-seq-start') flowLevels += 1;
    else if (type === 'flow-map-end' || type === 'flow-seq-end') flowLevels = Math.max(0, flowLevels - 1);
    else if (type === 'seq-item-ind' || type === 'explicit-key-ind') lineMarks += 1;
    else if (type === 'newline') lineMarks = 0;
    if (flowLevels > LEVELS_MAX || lineMarks > LEVELS_MAX) {
      return { reason: `it is nested more than ${LEVELS_MAX} levels deep here`, offset };
    }
    if (type === 'space' && before === 'newline' && source.length > INDENT_COLUMNS_MAX) {
      return { reason: `this line is indented by more than ${INDENT_COLUMNS_MAX} columns`, offset };
    }
    if (type !== 'doc-mode' && type !== 'flow-error-end' && type !== 'scalar') offset += source.length;
    before = type;
  }
  return null;
};

/** The first error stands; what follows it is often its echo, so the count is bounded and stacks are not taken. */
const compose = (text: string): Document => {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0; // the library makes an Error per fault: a million stacks take a minute
  try {
    // Duplicate keys are found by the walk: the library compares each key with each other.
    return parseDocument(text, { prettyErrors: false, uniqueKeys: false, logLevel: 'error' });
  } finally {
    Error.stackTraceLimit = limit;
  }
};

const syntaxMessage = (code: string, message: string): string => {
  if (code === 'MULTIPLE_DOCS') return 'a second document begins here ("---"), and a fleet file holds one';
  if (code === 'TAB_AS_INDENT') return 'a tab indents this line, and YAML takes only spaces';
  return `not valid YAML: ${message.replace(/\s+/g, ' ').replace(/\.$/, '')}`;
};

const syntaxHint = (line: string, column: number): string | null =>
  line[column - 1] === '{' && line[column - 2] === '$' ? 'inside [ ] and { } a variable needs quotes: "${NAME}"' : null;

class Walk {
  readonly #faults: FaultList;
  readonly #text: string;
  readonly #placeOf: (offset: number) => Place;
  readonly #environment: Environment;
  readonly #anchors = new Map<string, Located>();
  #tooLarge = false;

  constructor(text: string, faults: FaultList, placeOf: (offset: number) => Place, environment: Environment) {
    this.#text = text;
    this.#faults = faults;
    this.#placeOf = placeOf;
    this.#environment = environment;
  }

  read(node: Node | null, path: Path, fallbackOffset: number): Located {
    if (isAlias(node)) return this.#alias(node.source, node.range?.[0] ?? fallbackOffset, path);
    const offset = node?.range?.[0] ?? fallbackOffset;
    const empty = { value: null, offset, raw: null, interpolated: false, entries: null, items: null, size: 1 };
    if (path.length > LEVELS_MAX) {
      this.#faults.add(this.#placeOf(offset), path.slice(0, 8), `nested more than ${LEVELS_MAX} levels deep`);
      return empty;
    }
    if (isMap(node)) {
      const entries = new Map<string, Child>();
      const value = {};
      const located: Located = { ...empty, value, entries, size: null };
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, located);
      let size = 2;
      for (const pair of node.items) {
        const keyNode = pair.key as Node | null;
        const keyOffset = keyNode?.range?.[0] ?? offset;
        const key = this.#key(keyNode, path, keyOffset);
        if (key === null) continue;
        const before = entries.get(key);
        if (before !== undefined) {
          const first = this.#placeOf(before.keyOffset);
          this.#faults.add(
            this.#placeOf(keyOffset),
            [...path, key],
            `the key "${key}" is written twice, first at line ${first.line}`,
            'keep one of the two',
          );
          continue;
        }
        const child = this.read(pair.value as Node | null, [...path, key], keyNode?.range?.[1] ?? keyOffset);
        entries.set(key, { keyOffset, node: child });
        Object.defineProperty(value, key, { value: child.value, enumerable: true, configurable: true, writable: true });
        size += key.length + this.#sizeOf(child);
      }
      this.#close(located, size, path);
      return located;
    }
    if (isSeq(node)) {
      const items: Located[] = [];
      const value: unknown[] = [];
      const located: Located = { ...empty, value, items, size: null };
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, located);
      let size = 2;
      for (const item of node.items) {
        const child = this.read(item as Node | null, [...path, items.length], offset);
        items.push(child);
        value.push(child.value);
        size += this.#sizeOf(child);
      }
      this.#close(located, size, path);
      return located;
    }
    if (!isScalar(node)) return empty;
    const located = this.#scalar(node.value, this.#text.slice(offset, node.range?.[1] ?? offset), offset, path);
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, located);
    return located;
  }

  #sizeOf(child: Located): number {
    return child.size ?? 0; // null only for an alias inside its own anchor, which is a fault already
  }

  #close(located: Located, size: number, path: Path): void {
    located.size = Math.min(size, EXPANDED_CHARACTERS_MAX + 1);
    if (size <= EXPANDED_CHARACTERS_MAX) return;
    // Whatever holds it is too large for the same reason; one fault says it.
    located.size = 1;
    located.value = null;
    if (this.#tooLarge) return;
    this.#tooLarge = true;
    this.#faults.add(
      this.#placeOf(located.offset),
      path,
      `with its aliases written out this has more than ${EXPANDED_CHARACTERS_MAX} characters, as an alias bomb has`,
      'write the values out, or refer to smaller ones',
    );
  }

  #alias(name: string, offset: number, path: Path): Located {
    const target = this.#anchors.get(name);
    const nothing = { value: null, offset, raw: null, interpolated: false, entries: null, items: null, size: 1 };
    if (target === undefined) {
      this.#faults.add(this.#placeOf(offset), path, `the alias *${name} has no anchor &${name} before it`);
      return nothing;
    }
    if (target.size === null) {
      this.#faults.add(this.#placeOf(offset), path, `the alias *${name} stands inside its own anchor &${name}`);
      return nothing;
    }
    return target;
  }

  #key(node: Node | null, path: Path, offset: number): string | null {
    if (!isScalar(node) || node.value === null) {
      this.#faults.add(this.#placeOf(offset), path, 'a key here is not text', 'a key is one word before the colon');
      return null;
    }
    const key = String(node.value);
    // Own code never indexes by it, but one plain `record[key] = value` anywhere would change every object.
    if (key === '__proto__') {
      this.#faults.add(
        this.#placeOf(offset),
        [...path, key],
        'the key "__proto__" has a meaning of its own in JavaScript',
      );
      return null;
    }
    return key;
  }

  #scalar(value: unknown, raw: string, offset: number, path: Path): Located {
    const located = { value, offset, raw, interpolated: false, entries: null, items: null, size: raw.length + 1 };
    if (typeof value !== 'string' || !value.includes('$')) return located;
    const filled = interpolate(value, this.#environment);
    for (const fault of filled.faults) {
      // The offset is of the value; in the source it may be shifted by a quote or a folded line.
      const inRaw = raw.indexOf(fault.kind === 'unset' ? `\${${fault.what}` : fault.what);
      this.#faults.add(
        this.#placeOf(offset + Math.max(0, inRaw)),
        path,
        fault.kind === 'unset'
          ? `the variable ${fault.what} is not set`
          : `"${fault.what}" is no variable: it reads as \${NAME} or \${NAME:-default}`,
        fault.kind === 'unset'
          ? `set it in the environment or in .env beside this file, or write \${${fault.what}:-default}`
          : 'write $$ for a dollar sign that is meant as one',
      );
    }
    if (filled.faults.length > 0) this.#faults.settle(path);
    for (const { text, written } of filled.given) this.#faults.mask(text, written);
    return { ...located, value: filled.value, interpolated: filled.used, size: filled.value.length + 1 };
  }
}

const locate = (
  root: Located,
  path: Path,
): { readonly node: Located; readonly keyOffset: number; readonly found: number } => {
  let node = root;
  let keyOffset = root.offset;
  let found = 0;
  for (const part of path) {
    const child = typeof part === 'number' ? undefined : node.entries?.get(part);
    const item = typeof part === 'number' ? node.items?.[part] : undefined;
    if (child !== undefined) {
      keyOffset = child.keyOffset;
      node = child.node;
    } else if (item !== undefined) {
      keyOffset = item.offset;
      node = item;
    } else break;
    found += 1;
  }
  return { node, keyOffset, found };
};

const documentOf = (root: Located, placeOf: (offset: number) => Place): FleetDocument => {
  const at = (path: Path): Located | null => {
    const { node, found } = locate(root, path);
    return found === path.length ? node : null;
  };
  return {
    value: root.value,
    place(path) {
      const { node, keyOffset, found } = locate(root, path);
      // What is missing is missed where its holder is named, not at the holder's first key.
      return placeOf(found === path.length ? node.offset : keyOffset);
    },
    keyPlace: (path) => placeOf(locate(root, path).keyOffset),
    rawAt: (path) => at(path)?.raw ?? null,
    isInterpolated: (path) => at(path)?.interpolated ?? false,
    has: (path) => at(path) !== null,
    listAt(path) {
      const value = at(path)?.value;
      return Array.isArray(value) ? value : [];
    },
    keysAt: (path) => [...(at(path)?.entries?.keys() ?? [])],
    retype(path, wanted) {
      const last = path.at(-1);
      if (last === undefined || at(path)?.interpolated !== true) return false;
      const holder = at(path.slice(0, -1))?.value as Record<string | number, unknown>;
      const text = holder[last]; // what aliases share is the place; each holder has a copy of the text
      if (typeof text !== 'string') return false;
      if ((wanted === 'number' || wanted === 'int') && NUMBER.test(text.trim())) holder[last] = Number(text);
      else if (wanted === 'boolean' && /^\s*(?:true|false)\s*$/.test(text)) holder[last] = text.trim() === 'true';
      else return false;
      return true;
    },
  };
};

/** Where the lines of a text begin; a place is found by bisection. */
const linesOf = (text: string) => {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return {
    placeOf(offset: number): Place {
      let low = 0;
      let high = starts.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >>> 1;
        if (starts[middle]! <= offset) low = middle;
        else high = middle - 1;
      }
      return { line: low + 1, column: offset - starts[low]! + 1 };
    },
    lineText: (line: number): string =>
      text.slice(starts[line - 1] ?? text.length, starts[line] ?? text.length).replace(/\r?\n$/, ''),
  };
};

export interface ParsedText {
  readonly faults: FaultList;
  /** Null when the text could not be read as one map; the faults say why. */
  readonly document: FleetDocument | null;
}

/** Reads the text of a fleet file. Never throws for what is in the text. */
export const parseFleetText = (file: string, withMark: string, environment: Environment): ParsedText => {
  const text = withMark.startsWith('\uFEFF') ? withMark.slice(1) : withMark;
  const { placeOf, lineText } = linesOf(text);
  const faults = new FaultList(file, lineText);
  const refused = { faults, document: null };

  if (text.includes('\0')) {
    faults.add(null, [], 'it holds NUL bytes, so it is no text', 'a fleet file is YAML in UTF-8');
    return refused;
  }
  if (text.split('\n').every((line) => /^(?:\s*$|\s*#|---\s*$)/.test(line))) {
    faults.add(null, [], 'the file is empty', SMALLEST);
    return refused;
  }
  const hostile = refusal(text);
  if (hostile !== null) {
    faults.add(placeOf(hostile.offset), [], hostile.reason, 'a fleet file is flat: daemons and what each needs');
    return refused;
  }

  let yaml: Document;
  try {
    yaml = compose(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    faults.add(null, [], 'it is nested too deeply to be read'); // the stack ended inside the library
    return refused;
  }
  for (const problem of [...yaml.errors, ...yaml.warnings].slice(0, SYNTAX_FAULTS_MAX)) {
    const place = placeOf(problem.pos[0]);
    const tag = /^Unresolved tag: (.*)/.exec(problem.message)?.[1];
    if (tag === undefined)
      faults.add(
        place,
        [],
        syntaxMessage(problem.code, problem.message),
        syntaxHint(lineText(place.line), place.column),
      );
    else faults.add(place, [], `the tag ${tag} has no meaning here`, 'write the value without a tag');
  }
  if (yaml.directives?.yaml.explicit === true && yaml.directives.yaml.version !== '1.2') {
    faults.add(
      { line: 1, column: 1 },
      [],
      `YAML ${yaml.directives.yaml.version} is asked for, and only 1.2 is read here`,
      'drop the %YAML line',
    );
  }
  if (faults.count > 0) return refused;

  const root = new Walk(text, faults, placeOf, environment).read(yaml.contents as Node | null, [], 0);
  if (root.entries === null) {
    faults.add(
      placeOf(root.offset),
      [],
      root.items === null
        ? 'this is no fleet file: text, where a map of keys belongs'
        : 'this is no fleet file: a list, where a map of keys belongs',
      SMALLEST,
    );
    return refused;
  }
  return { faults, document: documentOf(root, placeOf) };
};
