/**
 * One table of edges out of three sources: what definitions say, what the file adds or replaces, and the order rule.
 *
 * Upstream kept two dependency tables, and they differed for 38 of 85 daemons; so here everything is merged once, before
 * anything looks at it, and each edge keeps where it was written. An edge that points at a deprecated type which this
 * fleet does not run is satisfied by the successor. A definition's soft or order edge onto a daemon that the fleet does
 * not have is dropped, because it asks for nothing that is missing; a hard one is a fault.
 */
import type { DaemonDefinition, DependencyEdge } from '../daemons/definition.ts';
import { nearestAmong, quoted } from '../graph/names.ts';
import type { Path } from './faults.ts';
import { edgeTimeoutMs } from './policies.ts';
import type { ResolvedEdge } from './types.ts';

/** An edge as written, with the place of it. */
export interface WrittenEdge extends DependencyEdge {
  readonly writtenAt: string;
  /** In the file; null for an edge of a definition. */
  readonly path: Path | null;
}

export interface EdgeOwner {
  readonly name: string;
  /** Null when it could not be resolved; its written edges still count, so that cycles are found. */
  readonly definition: DaemonDefinition | null;
  /** Of the file. */
  readonly written: readonly WrittenEdge[];
}

export interface EdgeFault {
  readonly owner: string;
  /** The edge in the file; null when a definition wrote it. */
  readonly path: Path | null;
  readonly message: string;
  readonly hint: string | null;
}

export interface EdgeTable {
  /** By owner, in the order of declaration. */
  readonly edges: ReadonlyMap<string, readonly ResolvedEdge[]>;
  readonly faults: readonly EdgeFault[];
  readonly warnings: readonly string[];
  /** Where an edge stands in the file. */
  pathOf(edge: ResolvedEdge): Path | null;
}

export interface EdgeSources {
  readonly owners: readonly EdgeOwner[];
  /** Daemons of the fleet that run under the type of a built-in: type → name in the fleet. */
  readonly nameOfType: ReadonlyMap<string, string>;
  /** Deprecated types that this fleet does not run → successor. */
  readonly successors: ReadonlyMap<string, string>;
  /** Names of the order rule with where each was written, in order. */
  readonly after: readonly { readonly on: string; readonly writtenAt: string }[];
  /** Kebab-case `uses` name of a built-in type, for the remedy. */
  usesOf(type: string): string | null;
}

const ROUTER = 'EVENT_ROUTER';
const SUCCESSION_MAX = 10; // chosen: a successor may itself be deprecated, but not for ever

export const mergeEdges = (sources: EdgeSources): EdgeTable => {
  const { owners, nameOfType, successors, after, usesOf } = sources;
  const byName = new Map(owners.map((owner) => [owner.name, owner]));
  const nearest = nearestAmong(byName.keys());
  const faults: EdgeFault[] = [];
  const warnings: string[] = [];
  const paths = new Map<ResolvedEdge, Path>();

  /** The daemon that an edge means; null when the fleet has none. */
  const targetOf = (on: string): string | null => {
    let wanted = on;
    for (let step = 0; step < SUCCESSION_MAX; step += 1) {
      const successor = successors.get(wanted);
      if (successor === undefined) break;
      wanted = successor;
    }
    if (byName.has(wanted)) return wanted;
    return nameOfType.get(wanted) ?? null;
  };

  const typeOf = (name: string): string => byName.get(name)?.definition?.type ?? name;

  const resolve = (owner: EdgeOwner, edge: WrittenEdge, on: string): ResolvedEdge => {
    const kind = edge.kind ?? 'hard';
    const byDefault = kind === 'hard' ? (typeOf(on) === ROUTER ? 'reattach' : 'restart') : 'ignore';
    const resolved: ResolvedEdge = {
      from: owner.name,
      on,
      kind,
      condition: edge.condition ?? 'ready',
      onLoss: edge.onLoss ?? byDefault,
      timeoutMs: kind === 'hard' ? 0 : edgeTimeoutMs(edge.timeoutSeconds),
      writtenAt: edge.writtenAt,
    };
    if (edge.path !== null) paths.set(resolved, edge.path);
    return resolved;
  };

  const edgesOf = (owner: EdgeOwner): ResolvedEdge[] => {
    const table = new Map<string, ResolvedEdge>();
    const add = (edge: WrittenEdge, replaces: boolean): void => {
      const target = targetOf(edge.on);
      const fault = (message: string, hint: string | null): void => {
        faults.push({ owner: owner.name, path: edge.path, message, hint });
      };
      const successor = successors.get(edge.on);
      if (target === null) {
        if (edge.path === null && (edge.kind ?? 'hard') !== 'hard') return;
        if (successor !== undefined) {
          const uses = usesOf(successor);
          fault(
            `${quoted(owner.name)} depends on ${edge.on}, which is deprecated, and its successor ${successor} is not in this fleet`,
            uses === null ? `add ${successor}` : `add ${successor}: { uses: ${uses} }`,
          );
          return;
        }
        if (edge.path === null) {
          const uses = usesOf(edge.on);
          fault(
            `${quoted(owner.name)} needs ${edge.on} (${edge.writtenAt}), which is not in this fleet`,
            uses === null
              ? `add a daemon named ${edge.on}`
              : `add ${edge.on}: { uses: ${uses} }, or override the edge in dependsOn with kind: soft`,
          );
          return;
        }
        const near = nearest(edge.on);
        const uses = usesOf(edge.on);
        fault(
          `${quoted(owner.name)} depends on ${quoted(edge.on)}, and no daemon has that name`,
          uses !== null
            ? `it is a built-in: add ${edge.on}: { uses: ${uses} }`
            : near === null
              ? `declare ${quoted(edge.on)} under daemons, or drop the edge`
              : `did you mean "${near}"?`,
        );
        return;
      }
      if (successor !== undefined) {
        if (target === owner.name) return; // the successor itself depended on what it replaces
        warnings.push(`${owner.name} depends on ${edge.on}, which is deprecated; ${target} stands in for it`);
      }
      if (edge.kind !== undefined && edge.kind !== 'hard') {
        if (edge.onLoss !== undefined && edge.onLoss !== 'ignore' && edge.path !== null) {
          warnings.push(
            `onLoss: ${edge.onLoss} at ${edge.writtenAt} has no effect: the loss of a daemon travels along hard edges only`,
          );
        }
      } else if (edge.timeoutSeconds !== undefined) {
        fault(
          'timeoutSeconds is for soft and order edges: a hard edge waits without limit',
          'drop it, or write kind: soft',
        );
      }
      const definition = byName.get(target)?.definition;
      if (edge.condition === 'completed' && definition !== null && definition !== undefined && !definition.oneShot) {
        fault(
          `${quoted(owner.name)} waits for ${target} to complete, and ${target} never does: it is no one-shot daemon`,
          'write condition: ready',
        );
      }
      const existing = table.get(target);
      if (existing !== undefined && !replaces) return;
      if (existing !== undefined && paths.has(existing)) {
        fault(
          `${quoted(owner.name)} depends on ${quoted(target)} twice, first at ${existing.writtenAt}`,
          'keep one of the two',
        );
        return;
      }
      table.set(target, resolve(owner, edge, target));
    };
    for (const edge of owner.definition?.dependsOn ?? []) {
      add({ ...edge, writtenAt: `definition of ${owner.definition!.type}`, path: null }, false);
    }
    for (const edge of owner.written) add(edge, true);
    return [...table.values()];
  };

  const edges = new Map<string, ResolvedEdge[]>(owners.map((owner) => [owner.name, edgesOf(owner)]));
  applyOrderRule(edges, after);
  return { edges, faults, warnings, pathOf: (edge) => paths.get(edge) ?? null };
};

/** Every daemon that `name` waits for, directly or not, and itself. Iterative: chains are long. */
const upstreamOf = (edges: ReadonlyMap<string, readonly ResolvedEdge[]>, name: string): ReadonlySet<string> => {
  const seen = new Set([name]);
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const edge of edges.get(next) ?? []) {
      if (seen.has(edge.on)) continue;
      seen.add(edge.on);
      open.push(edge.on);
    }
  }
  return seen;
};

/** `defaults.after`: an order edge onto each of these from all that they do not wait for themselves; never a cycle. */
const applyOrderRule = (edges: Map<string, ResolvedEdge[]>, after: EdgeSources['after']): void => {
  for (const { on, writtenAt } of after) {
    if (!edges.has(on)) continue;
    const upstream = upstreamOf(edges, on);
    for (const [from, own] of edges) {
      if (upstream.has(from) || own.some((edge) => edge.on === on)) continue;
      own.push({
        from,
        on,
        kind: 'order',
        condition: 'ready',
        onLoss: 'ignore',
        timeoutMs: edgeTimeoutMs(undefined),
        writtenAt,
      });
    }
  }
};

/** Members of a profile and what their hard edges pull in: name → the member that pulled it in, null for members. */
export const closeProfile = (
  members: readonly string[],
  edges: ReadonlyMap<string, readonly ResolvedEdge[]>,
): ReadonlyMap<string, string | null> => {
  const pulled = new Map<string, string | null>(members.map((member) => [member, null]));
  for (const member of members) {
    const open = [member];
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      for (const edge of edges.get(next) ?? []) {
        if (edge.kind !== 'hard' || pulled.has(edge.on)) continue;
        pulled.set(edge.on, member);
        open.push(edge.on);
      }
    }
  }
  return pulled;
};
