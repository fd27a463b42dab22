/**
 * The graph for a terminal, for a document and for a program.
 *
 * All three come from the same questions to the graph, so they cannot disagree: text for `plan`, Mermaid for the
 * documents, JSON in the shape other programs rely on (docs/contract.md "Plan").
 */
import type { DaemonGraph } from './graph.ts';
import type { GraphEdge, PlanJson, StartTimes } from './types.ts';

/** docs/contract.md "Plan". Start times decide only the critical path; without them it is the chain of most daemons. */
export const toJson = (graph: DaemonGraph, startMs: StartTimes = {}): PlanJson => ({
  order: graph.order(),
  waves: graph.waves(),
  edges: graph.edges.map(({ from, on, kind, onLoss, writtenAt }) => ({
    from,
    on,
    kind,
    onLoss: onLoss ?? null,
    writtenAt,
  })),
  criticalPath: graph.criticalPath(startMs).ids,
});

export interface TextOptions {
  /** Decides the critical path; its total is printed when any time is known. */
  readonly startMs?: StartTimes;
  /** One line per edge with where it was written, instead of one list per daemon. */
  readonly where?: boolean;
  /** Columns of the terminal; lists are wrapped to it. Default 80. */
  readonly width?: number;
}

/** Words in lines of at most `width`, the later lines indented; a word longer than a line stands alone. */
const wrapped = (words: readonly string[], first: string, indent: string, width: number): string[] => {
  const lines: string[] = [];
  let line = first;
  let isFresh = true;
  for (const word of words) {
    if (!isFresh && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent + word;
    } else {
      line += isFresh ? word : ` ${word}`;
    }
    isFresh = false;
  }
  lines.push(line);
  return lines;
};

const plural = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`;

const listed = (edge: GraphEdge, isLast: boolean): string =>
  `${edge.on}${edge.kind === 'hard' ? '' : `(${edge.kind})`}${isLast ? '' : ','}`;

/** Waves from the roots up, each daemon with what it starts after; ends without a newline. */
export const toText = (graph: DaemonGraph, { startMs = {}, where = false, width = 80 }: TextOptions = {}): string => {
  const waves = graph.waves();
  if (waves.length === 0) return 'no daemons';
  const longest = graph.ids.reduce((most, id) => Math.max(most, id.length), 0);
  const column = Math.min(longest, 40) + 2; // chosen: names above 40 columns push their own line only
  const lines = [
    `${plural(graph.ids.length, 'daemon', 'daemons')} in ${plural(waves.length, 'wave', 'waves')}, ` +
      `${plural(graph.edges.length, 'edge', 'edges')} (* critical; a daemon starts as soon as what it needs is ready)`,
  ];
  waves.forEach((wave, at) => {
    lines.push('', `wave ${at + 1}`);
    for (const id of wave) {
      const name = `  ${`${id}${graph.isCritical(id) ? ' *' : ''}`.padEnd(column)}`;
      const edges = graph.edgesOf(id);
      if (edges.length === 0) lines.push(name.trimEnd());
      else if (where) {
        lines.push(name.trimEnd());
        for (const edge of edges) {
          const loss = edge.onLoss === undefined ? '' : `, ${edge.onLoss} on loss`;
          lines.push(`      after ${edge.on} (${edge.kind}${loss})  ${edge.writtenAt}`);
        }
      } else {
        const words = edges.map((edge, place) => listed(edge, place === edges.length - 1));
        for (const line of wrapped(words, `${name} after `, ' '.repeat(10), width)) lines.push(line);
      }
    }
  });
  const { ids, totalMs } = graph.criticalPath(startMs);
  const chain = ids.map((id, place) => (place === ids.length - 1 ? id : `${id} →`));
  const total = totalMs > 0 ? [`(${Math.round(totalMs)} ms)`] : [];
  lines.push('', ...wrapped([...chain, ...total], 'critical path: ', ' '.repeat(15), width));
  return lines.join('\n');
};

/** Text as the content of a quoted Mermaid label; entities are numbers, which every renderer knows. */
export const mermaidText = (text: string): string =>
  text.replace(/[^A-Za-z0-9_.:/ -]/gu, (character) => `#${character.codePointAt(0) ?? 0};`);

const MERMAID_ARROWS = { hard: '-->', soft: '-.->', order: '-.->' } as const;

/** A flowchart in the direction of the start. Nodes are numbered, since names such as `end` are words of Mermaid. */
export const toMermaid = (graph: DaemonGraph): string => {
  const lines = ['flowchart TD'];
  graph.ids.forEach((id, at) => lines.push(`  n${at}["${mermaidText(id)}"]`));
  for (const edge of graph.edges) {
    const label = edge.kind === 'hard' ? (edge.onLoss ?? 'restart') : edge.kind;
    const text = label === 'restart' ? '' : `|"${mermaidText(label)}"|`;
    lines.push(`  n${graph.indexOf(edge.on)} ${MERMAID_ARROWS[edge.kind]}${text} n${graph.indexOf(edge.from)}`);
  }
  const critical = graph.ids.flatMap((id, at) => (graph.isCritical(id) ? [`n${at}`] : []));
  if (critical.length > 0) {
    lines.push('  classDef critical stroke-width:3px', `  class ${critical.join(',')} critical`);
  }
  return lines.join('\n');
};
