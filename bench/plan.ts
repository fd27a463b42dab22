/**
 * Figure: plan of 100,000 nodes, from a loaded graph, at most 1 s.
 *
 * Start order, waves, critical path with start times, and the JSON text of the plan, for a chain, a star (one root), the
 * star turned round (one leaf) and a random DAG. The limit beside it is what no plan can avoid: reading every edge once
 * from the integer index, and turning the finished result into text. Loading (names checked, graphlib's structure, index)
 * is printed too; it is not part of the figure. Every round plans a graph that has never been asked before.
 */
import { buildGraph, type DaemonGraph, type GraphEdge, type GraphNode } from '../src/graph/graph.ts';
import { adjacencyOf } from '../src/graph/adjacency.ts';
import { toJson } from '../src/graph/render.ts';
import { judged } from './support/judged.ts';

const ROUNDS = 3;
const AIM_MS = 1000;

interface Shape {
  readonly name: string;
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** A small generator with a seed, so that every run plans the same graphs (Marsaglia 2003, xorshift32). */
const seeded = (seed: number): ((below: number) => number) => {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
};

const daemons = (count: number): GraphNode[] =>
  Array.from({ length: count }, (_, at) => ({ id: `DAEMON_${at}`, critical: at % 20 === 0 }));

const edge = (from: number, on: number): GraphEdge => ({
  from: `DAEMON_${from}`,
  on: `DAEMON_${on}`,
  kind: 'hard',
  onLoss: 'restart',
  writtenAt: `fleet.yaml:${from}:7`,
});

const chain = (count: number): Shape => ({
  name: `chain of ${count}`,
  nodes: daemons(count),
  edges: Array.from({ length: count - 1 }, (_, at) => edge(at + 1, at)),
});

const star = (count: number): Shape => ({
  name: `star of ${count}, one root`,
  nodes: daemons(count),
  edges: Array.from({ length: count - 1 }, (_, at) => edge(at + 1, 0)),
});

const funnel = (count: number): Shape => ({
  name: `star of ${count}, one leaf`,
  nodes: daemons(count),
  edges: Array.from({ length: count - 1 }, (_, at) => edge(count - 1, at)),
});

const randomDag = (count: number, edges: number): Shape => {
  const random = seeded(7);
  const taken = new Map<string, GraphEdge>();
  while (taken.size < edges) {
    const from = 1 + random(count - 1);
    const on = random(from);
    taken.set(`${from} ${on}`, edge(from, on));
  }
  return { name: `random DAG of ${count} with ${edges} edges`, nodes: daemons(count), edges: [...taken.values()] };
};

/** Wall and CPU time; where they are far apart, other programs had the machine. CPU counts the collector's threads too. */
const timed = <Result>(
  work: () => Result,
): { readonly ms: number; readonly cpuMs: number; readonly result: Result } => {
  const cpuBefore = process.cpuUsage();
  const begun = performance.now();
  const result = work();
  const ms = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpuBefore);
  return { ms, cpuMs: (user + system) / 1000, result };
};

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

/** Reads every edge once, both ways, and touches both its ends: the least any algorithm here does. */
const readOnce = (graph: DaemonGraph): number => {
  const { size, dependencies, dependents } = adjacencyOf(graph.structure, graph.edges.length);
  const { ms } = timed(() => {
    const seen = new Int32Array(size);
    for (const { start, node } of [dependencies, dependents]) {
      for (let from = 0; from < size; from += 1) {
        for (let at = start[from]!; at < start[from + 1]!; at += 1) seen[node[at]!]! += 1;
      }
    }
    return seen;
  });
  return ms;
};

const measure = (shape: Shape): void => {
  const random = seeded(11);
  const startMs = new Map(shape.nodes.map(({ id }) => [id, random(200)]));
  const loads: number[] = [];
  const loadsCpu: number[] = [];
  const plans: number[] = [];
  const plansCpu: number[] = [];
  const limits: number[] = [];
  const parts = new Map<string, number[]>();
  const note = (part: string, ms: number): void => void parts.set(part, [...(parts.get(part) ?? []), ms]);
  for (let round = 0; round < ROUNDS; round += 1) {
    const { ms: loadMs, cpuMs: loadCpuMs, result: graph } = timed(() => buildGraph(shape.nodes, shape.edges));
    loads.push(loadMs);
    loadsCpu.push(loadCpuMs);
    const order = timed(() => graph.order());
    const waves = timed(() => graph.waves());
    const plan = timed(() => toJson(graph, startMs));
    const text = timed(() => JSON.stringify(plan.result));
    note('order', order.ms);
    note('waves', waves.ms);
    note('critical path and JSON', plan.ms);
    note('stringify', text.ms);
    plans.push(order.ms + waves.ms + plan.ms + text.ms);
    plansCpu.push(order.cpuMs + waves.cpuMs + plan.cpuMs + text.cpuMs);
    limits.push(readOnce(graph) + timed(() => JSON.stringify(plan.result)).ms);
  }
  const planMs = median(plans);
  const limitMs = median(limits);
  const shares = [...parts].map(([part, ms]) => `${part} ${median(ms).toFixed(1)}`).join(', ');
  console.log(
    `${shape.name}: plan ${planMs.toFixed(1)} ms (CPU ${median(plansCpu).toFixed(1)}), limit (edges read once + stringify) ${limitMs.toFixed(1)} ms, ` +
      `ratio ${(planMs / limitMs).toFixed(2)}, aim ${AIM_MS} ms ${judged(planMs <= AIM_MS)}`,
  );
  console.log(
    `    ${shares}; loading ${median(loads).toFixed(0)} ms (CPU ${median(loadsCpu).toFixed(0)}, not in the figure)`,
  );
};

const shapes = [chain(100_000), star(100_000), funnel(100_000), randomDag(10_000, 100_000)];
shapes.forEach(measure);
