/**
 * Where nodes come from. A provider turns a reserved node of the inventory into a running process somewhere, says whether
 * it still runs, and ends it. What to start, and when, is decided elsewhere; a provider keeps no state of its own, so any
 * start of the daemon that uses it can go on where the last one was killed: `start` of a run that is up already answers
 * with its announcement.
 */
import { join } from 'node:path';
import { messageOf, OrchestratorError } from '../../errors.ts';
import type { Clock } from '../../seams/clock.ts';
import type { FileSystem } from '../../seams/file-system.ts';
import type { RunningProcess } from '../../seams/spawner.ts';
import type { NodeRow } from '../floor.ts';
import {
  nodeAnnouncement,
  nodeConfig,
  PROTOCOL_VERSION,
  type NodeAnnouncement,
  type NodeConfigInput,
} from '../programs/protocol.ts';

export interface NodeProvider {
  /** As the inventory writes it. */
  readonly name: string;
  /**
   * Starts the run of a reserved node and resolves once it has announced itself; hand that to `nodes.seen`.
   * @throws NODE_NOT_STARTED when it did not, in time; nothing of that run is left then, as far as the provider can tell
   */
  start(node: NodeRow, settings: NodeSettings): Promise<NodeAnnouncement>;
  /** Whether the process of this run lives; null when the provider cannot tell. */
  alive(node: NodeRow): Promise<boolean | null>;
  /** Ends the run, gently and then not; resolves on proof, or when it was gone. */
  stop(node: NodeRow, graceMs: number): Promise<void>;
}

/** What the daemon decides about the nodes of a pool; the rest of a node's configuration follows from the inventory. */
export interface NodeSettings extends Omit<
  NodeConfigInput,
  'version' | 'nodeId' | 'runId' | 'pool' | 'endpointsFile' | 'seed'
> {
  readonly seed: number;
  /** Longest wait for the announcement, milliseconds. */
  readonly startMs: number;
  /** Nice value of a local process: nodes take what the master leaves. */
  readonly nice?: number;
}

/** The part of a daemon's context that providers use: processes made through it are recorded and end with the master. */
export interface NodeSpawner {
  spawn(spec: {
    readonly name: string;
    readonly command: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly nice?: number;
    readonly survives?: boolean;
  }): Promise<SpawnedNode>;
  spawned(): readonly SpawnedNode[];
  endProcess(process: SpawnedNode, graceMs?: number): Promise<void>;
}

export interface SpawnedNode {
  readonly name: string;
  readonly process: RunningProcess;
}

export interface ProviderWorld extends NodeSpawner {
  readonly files: FileSystem;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** `endpoints.file` of the floor. */
  readonly endpointsFile: string;
}

/** Between looks for an announcement or an exit, milliseconds. */
const LOOK_MS = 50;

export const nodeNotStarted = (node: NodeRow, reason: string, remedy: string): OrchestratorError =>
  new OrchestratorError('NODE_NOT_STARTED', {
    message: `cannot start node ${node.nodeId} (run ${node.runId}, provider ${node.provider}): ${reason}`,
    remedy,
    context: { nodeId: node.nodeId, runId: node.runId, provider: node.provider, reason },
  });

/** Writes `config.json` of a run into the node's folder and returns its path. */
export const writeNodeConfig = (world: ProviderWorld, node: NodeRow, settings: NodeSettings): string => {
  const { startMs: _startMs, nice: _nice, ...own } = settings;
  const config = nodeConfig.parse({
    ...own,
    version: PROTOCOL_VERSION,
    nodeId: node.nodeId,
    runId: node.runId,
    pool: node.pool,
    endpointsFile: world.endpointsFile,
  });
  const file = join(node.folder, 'config.json');
  world.files.makeFolder(node.folder);
  world.files.writeAtomically(file, `${JSON.stringify(config, null, 2)}\n`);
  return file;
};

/** What the node's folder says of this run; null while it says nothing, or speaks of another run. */
export const announcementOf = (
  files: FileSystem,
  node: NodeRow,
  file = join(node.folder, 'node.json'),
): NodeAnnouncement | null => {
  if (!files.exists(file)) return null;
  try {
    const announced = nodeAnnouncement.safeParse(JSON.parse(files.readText(file)));
    return announced.success && announced.data.nodeId === node.nodeId && announced.data.runId === node.runId
      ? announced.data
      : null;
  } catch {
    return null; // not written by a node; the wait for a good one ends by its own deadline
  }
};

/** How a started process ended, in words; null while it runs. */
export const watchExit = (process: RunningProcess): (() => string | null) => {
  let ended: string | null = null;
  process.exited.then(
    ({ code, signal }) =>
      (ended = signal === null ? `it exited with code ${code ?? 'unknown'}` : `it was ended by ${signal}`),
    (thrown: unknown) => (ended = messageOf(thrown)),
  );
  return () => ended;
};

/** Looks until `find` answers, `over` says why it never will, or the time is up. */
export const waitFor = async <Found>(
  world: ProviderWorld,
  timeoutMs: number,
  find: () => Found | null,
  over: () => string | null,
): Promise<Found | { readonly failure: string }> => {
  const startedAt = world.clock.monotonicMs();
  for (;;) {
    const ended = over(); // read before `find`: what was said before the end still counts
    const found = find();
    if (found !== null) return found;
    if (ended !== null) return { failure: ended };
    if (world.clock.monotonicMs() - startedAt >= timeoutMs)
      return { failure: `nothing was heard of it for ${timeoutMs / 1000} s` };
    await world.clock.sleep(LOOK_MS, world.signal);
  }
};

export const isFailure = (outcome: object): outcome is { readonly failure: string } => 'failure' in outcome;
