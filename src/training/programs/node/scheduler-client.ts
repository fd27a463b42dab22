/**
 * How a node talks to the scheduler: it asks, and expects to be left without an answer.
 *
 * The address is read from the endpoints file each time, since the scheduler may move; an absent scheduler, a refusal and
 * an answer that makes no sense are all "no answer", and the caller's next round is the retry. Last words about an item
 * (completed, failed) go through the store's outbox first, in order, and leave it only when they were answered.
 */
import type { z } from 'zod';
import { messageOf } from '../../../errors.ts';
import type { FileSystem } from '../../../seams/file-system.ts';
import type { Network } from '../../../seams/network.ts';
import {
  claimAnswer,
  endpoints,
  reportAnswer,
  type ClaimAnswer,
  type ClaimRequest,
  type ReportAnswer,
  type WorkReport,
} from '../protocol.ts';
import type { NodeStore } from './node-store.ts';

/** An answer takes milliseconds; the scheduler's process may hold its loop a little longer. */
const ANSWER_MS = 2000;

/** Longest answer believed, bytes. */
const ANSWER_BYTES_MAX = 1024 * 1024;

export class SchedulerClient {
  private readonly endpointsFile: string;
  private readonly files: FileSystem;
  private readonly network: Network;
  private readonly store: NodeStore;
  private readonly onAnswer: () => void;
  private readonly onFault: (message: string) => void;
  private delivering: Promise<boolean> | null = null;

  constructor(parts: {
    readonly endpointsFile: string;
    readonly files: FileSystem;
    readonly network: Network;
    readonly store: NodeStore;
    /** Hears of every answer: the floor is alive. */
    readonly onAnswer: () => void;
    /** Hears of every call without one. */
    readonly onFault: (message: string) => void;
  }) {
    this.endpointsFile = parts.endpointsFile;
    this.files = parts.files;
    this.network = parts.network;
    this.store = parts.store;
    this.onAnswer = parts.onAnswer;
    this.onFault = parts.onFault;
  }

  /** Null when the scheduler is away, or refuses. */
  async claim(request: ClaimRequest): Promise<ClaimAnswer | null> {
    const answer = await this.post('claim', request, claimAnswer);
    return answer === 'refused' ? null : answer;
  }

  /** A word on the way (started, progress); null when the scheduler is away, or refuses. */
  async report(report: WorkReport): Promise<ReportAnswer | null> {
    const answer = await this.post('report', report, reportAnswer);
    return answer === 'refused' ? null : answer;
  }

  /** Hands over the outbox, oldest first. @returns true when it is empty */
  deliver(): Promise<boolean> {
    this.delivering ??= this.deliverInOrder().finally(() => {
      this.delivering = null;
    });
    return this.delivering;
  }

  private async deliverInOrder(): Promise<boolean> {
    for (const { n, report } of this.store.pendingReports()) {
      // A refusal is an answer as well: the same words would be refused again, and must not hold up the others.
      if ((await this.post('report', report, reportAnswer)) === null) return false;
      this.store.delivered(n);
    }
    return true;
  }

  private async post<Answer>(
    route: string,
    body: object,
    shape: z.ZodType<Answer>,
  ): Promise<Answer | 'refused' | null> {
    try {
      const { scheduler } = endpoints.parse(JSON.parse(this.files.readText(this.endpointsFile)));
      if (scheduler === null) return null;
      const answer = await this.network.request({
        url: `${scheduler}/${route}`,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        timeoutMs: ANSWER_MS,
        maxBytes: ANSWER_BYTES_MAX,
      });
      const text = Buffer.from(answer.body).toString('utf8');
      if (answer.status !== 200) {
        this.onFault(`${scheduler}/${route} answered ${answer.status}: ${text.slice(0, 200)}`);
        return answer.status >= 400 && answer.status < 500 ? 'refused' : null;
      }
      const parsed = shape.parse(JSON.parse(text));
      this.onAnswer();
      return parsed;
    } catch (thrown) {
      this.onFault(messageOf(thrown));
      return null;
    }
  }
}
