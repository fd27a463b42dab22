/** Messages between the floor's client and its store thread, and how an error crosses between them. */
import { ERROR_CODES, messageOf, OrchestratorError, type ErrorCode } from '../../errors.ts';
import type { Now } from './database.ts';
import type { ServiceName } from './services.ts';

export interface StoreThreadData {
  readonly dataDir: string;
  readonly now: Now;
}

export type StoreRequest =
  | {
      readonly kind: 'call';
      readonly id: number;
      readonly service: ServiceName;
      readonly method: string;
      readonly args: readonly unknown[];
      readonly now: Now;
    }
  /** After the calls before it: close every store and end. */
  | { readonly kind: 'close' };

export type StoreReply =
  | { readonly kind: 'opened' }
  | { readonly kind: 'not-opened'; readonly error: WireError }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError };

export interface WireError {
  readonly code: string | null;
  readonly message: string;
  readonly remedy: string;
  /** As text: whatever it holds, it must cross. */
  readonly context: string;
  readonly stack: string;
}

const contextOf = (thrown: unknown): Readonly<Record<string, unknown>> => {
  if (thrown instanceof OrchestratorError) return thrown.context;
  const errno = (thrown as NodeJS.ErrnoException | null)?.code;
  return typeof errno === 'string' ? { errno } : {};
};

export const toWire = (thrown: unknown): WireError => ({
  code: thrown instanceof OrchestratorError ? thrown.code : null,
  message: messageOf(thrown),
  remedy: thrown instanceof OrchestratorError ? thrown.remedy : '',
  context: JSON.stringify(contextOf(thrown)),
  stack: thrown instanceof Error ? (thrown.stack ?? '') : '',
});

const isCode = (code: string | null): code is ErrorCode => code !== null && code in ERROR_CODES;

export const fromWire = (wire: WireError): Error => {
  if (!isCode(wire.code))
    return new OrchestratorError('STORE_FAILED', {
      message: `cannot complete a call to the training floor: ${wire.message}`,
      remedy: 'see the context for where it was thrown; the transaction was undone',
      context: { ...(JSON.parse(wire.context) as Record<string, unknown>), thrownAt: wire.stack },
    });
  return new OrchestratorError(wire.code, {
    message: wire.message,
    remedy: wire.remedy,
    context: JSON.parse(wire.context) as Record<string, unknown>,
  });
};
