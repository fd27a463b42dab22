/**
 * The pages of docs/reference, printed from the tables that the program itself uses: lifecycle and edges from
 * src/lifecycle, events from the catalogue and the daemons' declarations, errors from ERROR_CODES and the functions that
 * build them. `npm run docs` writes them; a test fails while they say something else than the tables.
 */
import { join, relative } from 'node:path';
import ts from 'typescript';
import { z } from 'zod';
import { RINGRIFT_DAEMONS } from '../src/daemons/index.ts';
import { ERROR_CODES, type ErrorCode } from '../src/errors.ts';
import { RINGRIFT_EVENTS } from '../src/events/catalogue.ts';
import type { EventDeclaration } from '../src/events/types.ts';
import { ACT_VERBS, COMMAND_MERGE, MERGE_ACTIONS } from '../src/lifecycle/command-merge.ts';
import {
  EDGE_ACTIONS,
  EDGE_EVENT_MEANINGS,
  EDGE_EVENTS,
  EDGE_KINDS,
  edgeAction,
  ON_LOSS,
} from '../src/lifecycle/edge-rules.ts';
import { CAUSE_MEANINGS, CAUSES, DAEMON_STATES, STATE_MEANINGS } from '../src/lifecycle/states.ts';
import { STORM_LIMITS } from '../src/lifecycle/storm-breaker.ts';
import { DAEMON_LIFECYCLE, type LifecycleRow } from '../src/lifecycle/transitions.ts';
import type { FileSystem } from '../src/seams/file-system.ts';

export interface Page {
  /** In docs/reference. */
  readonly file: string;
  readonly text: string;
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const code = (text: string): string => `\`${text}\``;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
const page = (file: string, title: string, ...parts: readonly string[]): Page => ({
  file,
  text: [`# ${title}`, 'Printed from the tables by `npm run docs`; do not edit.', ...parts].join('\n\n') + '\n',
});

// ------------------------------------------------------------------------------------------------------- lifecycle

const ROWS: readonly LifecycleRow[] = DAEMON_LIFECYCLE;

const lifecyclePage = (): Page =>
  page(
    'lifecycle.md',
    'Lifecycle of a daemon',
    'What is wanted of a daemon (`up` or `down`, kept over restarts of the master) and what it is are two fields. STOPPED if and only if not wanted.',
    '## States',
    table(
      ['state', 'meaning'],
      DAEMON_STATES.map((state) => [state, STATE_MEANINGS[state]]),
    ),
    '## Transitions',
    'A pair of state and event that is not here cannot happen; the core would stop with INVARIANT (exit 70).',
    table(
      ['from', 'on', 'to', 'when', 'then'],
      ROWS.map(({ from, on, to, meaning, then }) => [from.join(', '), code(on), to, meaning, then.join(', ')]),
    ),
    [
      '```mermaid',
      'stateDiagram-v2',
      ...ROWS.flatMap(({ from, on, to }) => from.map((state) => `  ${state} --> ${to}: ${on}`)),
      '```',
    ].join('\n'),
    '## Causes',
    'Kept beside the state, in `history`, in metrics and in the journal.',
    table(
      ['cause', 'meaning'],
      CAUSES.map((cause) => [code(cause), CAUSE_MEANINGS[cause]]),
    ),
    '## Commands: what each does in each state',
    'One operation per daemon at a time: a command never starts a second one beside it, it bends what is under way.',
    table(
      ['state', ...ACT_VERBS.map(code)],
      DAEMON_STATES.map((state) => [state, ...ACT_VERBS.map((verb) => COMMAND_MERGE[verb][state])]),
    ),
    table(
      ['word', 'meaning'],
      Object.entries(MERGE_ACTIONS).map(([action, meaning]) => [code(action), meaning]),
    ),
    '## Edges: what happens to the dependent',
    'Losses within 250 ms merge into one plan: a member of several cascades stops and starts once.',
    table(
      ['kind', 'onLoss', ...EDGE_EVENTS.map(code)],
      EDGE_KINDS.flatMap((kind) =>
        ON_LOSS.map((onLoss) => [kind, onLoss, ...EDGE_EVENTS.map((event) => edgeAction(kind, onLoss, event))]),
      ),
    ),
    table(
      ['event', 'meaning'],
      EDGE_EVENTS.map((event) => [code(event), EDGE_EVENT_MEANINGS[event]]),
    ),
    table(
      ['word', 'what the dependent does'],
      Object.entries(EDGE_ACTIONS).map(([action, meaning]) => [code(action), meaning]),
    ),
    '## Storm breaker',
    `${STORM_LIMITS.failures} second or later failures of the same daemons within ${STORM_LIMITS.windowMs / 1000} s hold the restarts of daemons that are not critical, until none has come for ${STORM_LIMITS.quietMs / 1000} s. Boot is exempt.`,
  );

// ------------------------------------------------------------------------------------------------------- events

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
}

const typeText = (schema: JsonSchema): string => {
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' \\| ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeText).join(' \\| ');
  if (schema.items !== undefined) return `list of ${typeText(schema.items)}`;
  if (schema.properties !== undefined) return `{ ${fieldsText(schema)} }`;
  if (typeof schema.additionalProperties === 'object') return `map to ${typeText(schema.additionalProperties)}`;
  return [schema.type ?? 'any'].flat().join(' \\| ');
};

const fieldsText = ({ properties = {}, required = [] }: JsonSchema): string =>
  Object.entries(properties)
    .map(([name, schema]) => `${name}${required.includes(name) ? '' : '?'}: ${typeText(schema)}`)
    .join(', ');

const eventsPage = (): Page => {
  const rows = Object.entries<EventDeclaration>(RINGRIFT_EVENTS).map(([name, event]) => {
    const by = (edge: 'publishes' | 'subscribes', external: readonly string[] = []): string =>
      [
        ...RINGRIFT_DAEMONS.filter((daemon) => daemon[edge].includes(name)).map((daemon) => daemon.type),
        ...external.map((other) => `*${other}*`),
      ].join(', ') || '–';
    const schema = z.toJSONSchema(event.body, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
    return [
      name,
      String(event.version),
      event.meaning,
      fieldsText(schema).replaceAll('\\|', '|') || '–',
      by('publishes', event.externalProducers),
      by('subscribes', event.externalConsumers),
    ];
  });
  return page(
    'events.md',
    'Events',
    'Facts that happened. Publishing an event that is not here, or a body that does not fit, is an error at the publisher. In italics: outside the fleet.',
    table(['event', 'version', 'fact', 'fields', 'producers', 'consumers'], rows),
  );
};

// ------------------------------------------------------------------------------------------------------- errors

interface Built {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
  readonly where: string;
}

/** The text of an expression, with `…` where a value stands; of a choice, every alternative. */
const alternatives = (node: ts.Node): string[] => {
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return alternatives(node.expression);
  if (ts.isConditionalExpression(node)) return [...alternatives(node.whenTrue), ...alternatives(node.whenFalse)];
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.QuestionQuestionToken)
    return [...alternatives(node.left), ...alternatives(node.right)].filter((text) => text !== '…');
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken)
    return alternatives(node.left).flatMap((left) => alternatives(node.right).map((right) => left + right));
  if (ts.isTemplateExpression(node))
    return [node.head.text + node.templateSpans.map((span) => `…${span.literal.text}`).join('')];
  return ['…'];
};

const builtIn = (file: string, text: string): Built[] => {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
  const found: Built[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) && node.expression.getText(source) === 'OrchestratorError') {
      const [first, parts] = node.arguments ?? [];
      if (
        first !== undefined &&
        ts.isStringLiteral(first) &&
        parts !== undefined &&
        ts.isObjectLiteralExpression(parts)
      ) {
        const of = (name: string): string => {
          const property = parts.properties.find((each) => each.name?.getText(source) === name);
          return property !== undefined && ts.isPropertyAssignment(property)
            ? alternatives(property.initializer).join(' / ')
            : '…';
        };
        found.push({ code: first.text, message: of('message'), remedy: of('remedy'), where: file });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
};

const sourcesIn = (files: FileSystem, folder: string): string[] =>
  files
    .list(folder)
    .toSorted()
    .flatMap((name) => {
      const path = join(folder, name);
      return files.stat(path).isDirectory ? sourcesIn(files, path) : name.endsWith('.ts') ? [path] : [];
    });

const errorsPage = (root: string, files: FileSystem): Page => {
  const built = sourcesIn(files, join(root, 'src')).flatMap((path) =>
    builtIn(relative(root, path), files.readText(path)),
  );
  const codes = Object.keys(ERROR_CODES) as ErrorCode[];
  return page(
    'errors.md',
    'Errors',
    'A message begins with "cannot" and says what went wrong with its real values (… here); the remedy is printed under it. Codes are stable.',
    table(
      ['code', 'meaning'],
      codes.map((name) => [`[${name}](#${name.toLowerCase()})`, ERROR_CODES[name]]),
    ),
    ...codes.flatMap((name) => {
      const rows = built
        .filter((each) => each.code === name)
        .map(({ message, remedy, where }) => [message, remedy, code(where)]);
      return [
        `## ${name}`,
        `${ERROR_CODES[name]}.`,
        ...(rows.length > 0 ? [table(['message', 'remedy', 'from'], rows)] : []),
      ];
    }),
  );
};

/** @param root  of the package, whose sources the page of errors reads */
export const referencePages = (root: string, files: FileSystem): Page[] => [
  lifecyclePage(),
  eventsPage(),
  errorsPage(root, files),
];
