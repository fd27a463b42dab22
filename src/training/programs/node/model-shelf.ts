/**
 * The models a node holds, and which one it plays with.
 *
 * Order is the safety: bytes arrive and are hashed, decoded and written whole; then the row says that they are held; only
 * then may a pointer name them. A crash between any two leaves a file that nobody names, or a model that nobody points
 * at, and the push is simply repeated. A file that no longer has its hash is forgotten, so that the floor, which
 * compares what is held with what should be, sends it again.
 */
import { join } from 'node:path';
import { messageOf } from '../../../errors.ts';
import type { FileSystem } from '../../../seams/file-system.ts';
import { valueAgent, type Agent } from '../../agents/agent.ts';
import { decodeCheckpoint, readCheckpoint, sha256Of } from '../../learning/checkpoint.ts';
import type { ModelReceipt, ModelRef } from '../protocol.ts';
import type { NodeStore } from './node-store.ts';

/** Models kept on disk; older ones go unless pointed at. A model of the largest board takes 240 KB. */
export const MODELS_KEPT = 64;

/** Networks kept in memory, the most recently used. */
const NETWORKS_LOADED = 8;

/** Why a push or a pointer was refused, as the protocol numbers it. */
export interface Refusal {
  readonly status: 409 | 422;
  readonly error: string;
}

export class ModelShelf {
  private readonly folder: string;
  private readonly files: FileSystem;
  private readonly store: NodeStore;
  private readonly held = new Map<string, ModelRef>();
  private readonly pointed = new Map<string, ModelRef>();
  private readonly loaded = new Map<string, Agent>();
  private readonly onLoss: (message: string) => void;

  /** @param onLoss  hears of a model that had to be forgotten */
  constructor(folder: string, files: FileSystem, store: NodeStore, onLoss: (message: string) => void) {
    this.folder = folder;
    this.files = files;
    this.store = store;
    this.onLoss = onLoss;
    files.makeFolder(folder);
    for (const model of store.models()) this.held.set(model.modelId, model);
    for (const model of store.pointers()) this.pointed.set(model.config, model);
  }

  models(): ModelRef[] {
    return [...this.held.values()];
  }

  pointers(): Record<string, ModelRef> {
    return Object.fromEntries(this.pointed);
  }

  /** Takes the bytes of a model; a repeat of what is held changes nothing. */
  take(model: ModelRef, bytes: Uint8Array): ModelReceipt | Refusal {
    const { modelId, config, sha256 } = model;
    const found = sha256Of(bytes);
    if (found !== sha256) return { status: 422, error: `cannot take ${modelId}: its bytes have the hash ${found}` };
    const known = this.held.get(modelId);
    if (known !== undefined && known.sha256 !== sha256)
      return { status: 409, error: `cannot take ${modelId}: it is held with the hash ${known.sha256}` };
    try {
      const { header } = decodeCheckpoint(bytes, modelId);
      if (header.config !== config)
        return { status: 422, error: `cannot take ${modelId}: it plays ${header.config}, not ${config}` };
    } catch (thrown) {
      return { status: 422, error: messageOf(thrown) };
    }
    this.files.writeAtomically(this.fileOf(modelId), bytes);
    if (known === undefined) {
      this.store.addModel(model);
      this.held.set(modelId, model);
      this.dropOldest();
    }
    return { modelId, sha256, bytes: bytes.length };
  }

  /** From now on the node plays this config with that model; refused unless it is held with that hash. */
  point(config: string, modelId: string, sha256: string): ModelRef | Refusal {
    const model = this.held.get(modelId);
    if (model === undefined || model.sha256 !== sha256 || model.config !== config) {
      const found =
        model === undefined ? 'it is not held' : `it is held for ${model.config} with the hash ${model.sha256}`;
      return { status: 409, error: `cannot point ${config} at ${modelId}: ${found}` };
    }
    if (this.pointed.get(config)?.modelId !== modelId) {
      this.store.setPointer(config, modelId);
      this.pointed.set(config, model);
    }
    return model;
  }

  /** The agent of the model in use for a config; null when there is none. */
  current(config: string): Agent | null {
    const model = this.pointed.get(config);
    return model === undefined ? null : this.agentOf(model.modelId, config);
  }

  /** The agent of a model; null when it is not held, or not for this config. */
  agentOf(modelId: string, config: string): Agent | null {
    const model = this.held.get(modelId);
    if (model === undefined || model.config !== config) return null;
    const known = this.loaded.get(modelId);
    if (known !== undefined) {
      this.loaded.delete(modelId); // to the end: the first of the map is the longest unused
      this.loaded.set(modelId, known);
      return known;
    }
    try {
      const { network } = readCheckpoint(this.files, this.fileOf(modelId), { config, sha256: model.sha256 });
      const agent = valueAgent(network, modelId);
      this.loaded.set(modelId, agent);
      for (const longestUnused of this.loaded.keys()) {
        if (this.loaded.size <= NETWORKS_LOADED) break;
        this.loaded.delete(longestUnused);
      }
      return agent;
    } catch (thrown) {
      this.forget(modelId);
      this.onLoss(`forgets ${modelId}: ${messageOf(thrown)}`);
      return null;
    }
  }

  private fileOf(modelId: string): string {
    return join(this.folder, `${modelId}.mlvn`);
  }

  private forget(modelId: string): void {
    const model = this.held.get(modelId);
    if (model === undefined) return;
    this.store.removeModel(modelId);
    this.held.delete(modelId);
    this.loaded.delete(modelId);
    if (this.pointed.get(model.config)?.modelId === modelId) this.pointed.delete(model.config);
    this.files.remove(this.fileOf(modelId));
  }

  private dropOldest(): void {
    for (const { modelId, config } of this.held.values()) {
      if (this.held.size <= MODELS_KEPT) return;
      if (this.pointed.get(config)?.modelId !== modelId) this.forget(modelId);
    }
  }
}
