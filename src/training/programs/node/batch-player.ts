/**
 * Plays the games of one work item, in slices, so that the node goes on answering while it plays.
 *
 * A game exists once it is committed; until then nobody is told of it. Commits are small and frequent: what a `kill -9`
 * can cost is the games of the last second. A full disk does not cost even those: playing pauses until the commit
 * succeeds. The model in use is looked up for every game, so a new champion plays from the next game on, within the batch.
 */
import { messageOf } from '../../../errors.ts';
import type { PlainClock } from '../../../seams/plain-clock.ts';
import { seededRandom, type Random } from '../../../seams/random.ts';
import { exploring, greedyAgent, randomAgent, type Agent } from '../../agents/agent.ts';
import { Table } from '../../agents/match.ts';
import { gameConfig } from '../../game/configs.ts';
import { placementsOf, winnerOf } from '../../game/record.ts';
import { SelfPlay } from '../../learning/self-play.ts';
import type { ClaimAnswer, GameRow, MatchRow, NodeConfig, NodeStatus, WorkPayload, WorkResult } from '../protocol.ts';
import type { ModelShelf } from './model-shelf.ts';
import type { NodeStore } from './node-store.ts';

export type WorkItem = NonNullable<ClaimAnswer['item']>;

/** Longest stretch of play between two looks at the network, milliseconds (a game in hand is finished first). */
const SLICE_MS = 20;

/** A commit at least this often while games are played, milliseconds. */
const COMMIT_MS = 1000;

/** Pause before a failed commit is tried again, milliseconds. */
const RETRY_MS = 1000;

const RATE_WINDOW_MS = 60_000;

export interface BatchControl {
  /** Why to stop before the end; null to go on. Looked at between games. */
  stopReason(): string | null;
  /** After each commit: so many games of the batch are durable. */
  onCommit(done: number): void;
}

export interface BatchOutcome {
  readonly done: number;
  /** Null when all games were played. */
  readonly stopped: string | null;
  readonly result: WorkResult;
}

type SelfPlayWork = Extract<WorkPayload, { kind: 'selfplay' }>;
type TournamentWork = Extract<WorkPayload, { kind: 'tournament' }>;

export class BatchPlayer {
  private readonly config: NodeConfig;
  private readonly store: NodeStore;
  private readonly shelf: ModelShelf;
  private readonly clock: PlainClock;
  /** For identifiers only; play draws from the item's seed. */
  private readonly random: Random;
  private readonly say: (line: string) => void;
  private inHand: { itemId: string; kind: WorkPayload['kind']; config: string; done: number; of: number } | null = null;
  private games: GameRow[] = [];
  private matches: MatchRow[] = [];
  private committedAt = 0;
  private sliceBegan = 0;
  /** Commits of the last minute: when, and how many games. */
  private recent: { readonly atMs: number; readonly games: number }[] = [];

  constructor(parts: {
    readonly config: NodeConfig;
    readonly store: NodeStore;
    readonly shelf: ModelShelf;
    readonly clock: PlainClock;
    readonly random: Random;
    readonly say: (line: string) => void;
  }) {
    this.config = parts.config;
    this.store = parts.store;
    this.shelf = parts.shelf;
    this.clock = parts.clock;
    this.random = parts.random;
    this.say = parts.say;
  }

  get current(): NodeStatus['current'] {
    return this.inHand === null ? null : { ...this.inHand };
  }

  /** Games committed in the last minute. */
  get gamesPerMinute(): number {
    const since = this.clock.monotonicMs() - RATE_WINDOW_MS;
    this.recent = this.recent.filter(({ atMs }) => atMs >= since);
    return this.recent.reduce((sum, { games }) => sum + games, 0);
  }

  /** @throws when the item asks for what this node cannot do; the message says what */
  async play(item: WorkItem, control: BatchControl): Promise<BatchOutcome> {
    const { itemId, work, attempt } = item;
    if (work.kind === 'training') throw new Error('cannot train: this node plays games');
    const began = this.clock.monotonicMs();
    this.inHand = { itemId, kind: work.kind, config: work.config, done: 0, of: work.games };
    this.committedAt = this.sliceBegan = began;
    try {
      // Another attempt, or another node, plays other games: the same ones again would teach nothing.
      const random = seededRandom(work.seed).fork(`${this.config.nodeId}/${attempt}`);
      const playOne = work.kind === 'selfplay' ? this.selfPlay(work, random) : this.tournament(work, itemId, random);
      let stopped: string | null = null;
      let modelId: string | null = null;
      for (let game = 0; game < work.games; game++) {
        stopped = control.stopReason();
        if (stopped !== null) break;
        modelId = playOne(game);
        await this.commitIfDue(control);
        await this.breathe();
      }
      await this.commit(control);
      const { done } = this.inHand;
      return {
        done,
        stopped: done < work.games ? (stopped ?? 'its last games could not be kept') : null,
        result: {
          ...(work.kind === 'selfplay' ? { games: done, matches: 0 } : { games: 0, matches: done }),
          ...{ seconds: this.clock.since(began), modelId },
          lastSeq: this.store.lastSeq()[work.config] ?? 0,
        },
      };
    } finally {
      this.inHand = null;
      this.games = [];
      this.matches = [];
    }
  }

  /** The model in use on every seat, or on one in turn with an opponent drawn by weight on the others. */
  private selfPlay(work: SelfPlayWork, random: Random): (game: number) => string | null {
    const config = gameConfig(work.config);
    const table = new SelfPlay(config);
    const total = work.opponents.reduce((sum, { weight }) => sum + weight, 0);
    const drawOpponent = (): string => {
      let left = random.uniform() * total;
      for (const { agent, weight } of work.opponents) if ((left -= weight) < 0) return agent;
      return 'self';
    };
    return (game) => {
      // Without a model, random play: it sees more of the game than the fixed taste of untrained weights.
      const own = this.shelf.current(work.config) ?? randomAgent;
      const opponent = this.agentNamed(drawOpponent(), work.config) ?? own; // one that is not here yet: play itself
      const agents = Array.from({ length: config.players }, (_, seat) =>
        seat === game % config.players ? own : opponent,
      );
      const playing = agents.map((agent) => exploring(agent, work.exploration));
      const record = table.play((seat) => playing[seat - 1]!, random);
      this.games.push({
        id: this.random.uuid(),
        config: work.config,
        moves: record.moves,
        plies: placementsOf(config, record.moves),
        pieces: [...record.pieces],
        winner: winnerOf(record.pieces),
        agents: agents.map(({ name }) => name),
        exploration: work.exploration,
        endedAtMs: this.clock.wallMs(),
      });
      return own === randomAgent ? null : own.name;
    };
  }

  private tournament(work: TournamentWork, itemId: string, random: Random): (game: number) => null {
    const config = gameConfig(work.config);
    if (new Set(work.agents).size !== work.agents.length || work.agents.length > config.players)
      throw new Error(`cannot seat ${work.agents.join(', ')} at ${work.config}: each once, at most ${config.players}`);
    const agents = work.agents.map((name) => {
      const agent = this.agentNamed(name, work.config);
      if (agent === null) throw new Error(`cannot play ${name} at ${work.config}: this node does not hold it`);
      return agent;
    });
    const table = new Table(config, agents, random);
    return (game) => {
      const scores = table.play();
      this.matches.push({
        id: `${itemId}:${game}`,
        config: work.config,
        seats: agents.map(({ name }, index) => ({ agent: name, score: scores[index]! })),
        playedAtMs: this.clock.wallMs(),
      });
      return null;
    };
  }

  private agentNamed(name: string, config: string): Agent | null {
    if (name === 'self') return this.shelf.current(config);
    if (name === randomAgent.name) return randomAgent;
    if (name === greedyAgent.name) return greedyAgent;
    return this.shelf.agentOf(name, config);
  }

  private async commitIfDue(control: BatchControl): Promise<void> {
    const waiting = this.games.length + this.matches.length;
    const overdue = this.clock.monotonicMs() - this.committedAt >= COMMIT_MS;
    if (waiting >= this.config.commitGames || overdue) await this.commit(control);
  }

  private async commit(control: BatchControl): Promise<void> {
    const waiting = this.games.length + this.matches.length;
    this.committedAt = this.clock.monotonicMs();
    if (waiting === 0) return;
    while (true) {
      try {
        this.store.keep(this.games, this.matches);
        break;
      } catch (thrown) {
        this.say(`keeps ${waiting} games in memory: ${messageOf(thrown)}`);
        await this.clock.sleep(RETRY_MS);
        if (control.stopReason() !== null) return; // never told to anybody, so nothing is missed
      }
    }
    this.games = [];
    this.matches = [];
    this.inHand!.done += waiting;
    this.recent.push({ atMs: this.clock.monotonicMs(), games: waiting });
    control.onCommit(this.inHand!.done);
  }

  private async breathe(): Promise<void> {
    if (this.clock.monotonicMs() - this.sliceBegan < SLICE_MS) return;
    await this.clock.sleep(0);
    this.sliceBegan = this.clock.monotonicMs();
  }
}
