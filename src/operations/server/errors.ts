/** What the control plane refuses, in the one shape of the project. */
import { OrchestratorError } from '../../errors.ts';
import type { ErrorCode } from '../../errors.ts';
import type { PortOwner } from '../../seams/port-owner.ts';
import type { ErrorBody, StallNow } from './protocol.ts';

/** A refusal with its HTTP status: what a route throws. */
export class Refusal extends Error {
  readonly status: number;
  readonly body: ErrorBody;

  constructor(status: number, code: ErrorCode, message: string, remedy: string) {
    super(message);
    this.status = status;
    this.body = { code, message, remedy };
  }
}

const describe = (owner: PortOwner | null): string => {
  if (owner === null) return 'another program';
  if (owner.pid === null) return `a program of user ${owner.user ?? 'unknown'}`;
  return `pid ${owner.pid}${owner.command === null ? '' : ` (${owner.command})`}`;
};

/** The port is taken; exit 5. */
export const portTaken = (host: string, port: number, owner: PortOwner | null): OrchestratorError =>
  new OrchestratorError('PORT_TAKEN', {
    message: `cannot listen on ${host}:${port}: ${describe(owner)} holds the port`,
    remedy: 'end that program, or choose another port with --port (0: any free one)',
    context: { host, port, owner },
  });

/** Any other reason for which the socket or the port cannot be opened. */
export const cannotListen = (where: string, cause: unknown): OrchestratorError =>
  new OrchestratorError('CANNOT_LISTEN', {
    message: `cannot listen on ${where}: ${cause instanceof Error ? cause.message : String(cause)}`,
    remedy: 'check that the data directory is writable and that server.bind names an address of this machine',
    context: { where },
    cause,
  });

export const badRequest = (message: string, remedy = 'see docs/reference and "master_loop --help"'): Refusal =>
  new Refusal(400, 'BAD_REQUEST', message, remedy);

export const unknownDaemon = (type: string, nearest: string | null): Refusal =>
  new Refusal(
    404,
    'UNKNOWN_DAEMON',
    `cannot find a daemon named ${JSON.stringify(type)} in this fleet`,
    nearest === null ? '"master_loop status" lists the daemons of the fleet' : `did you mean ${nearest}?`,
  );

export const noRoute = (method: string, path: string): Refusal =>
  new Refusal(
    404,
    'NO_ROUTE',
    `cannot ${method} ${path}: there is no such route`,
    'docs/contract.md lists the routes, under "HTTP"',
  );

export const unauthorized = (): Refusal =>
  new Refusal(
    401,
    'UNAUTHORIZED',
    'cannot do this without the token of the data directory',
    'send "Authorization: Bearer TOKEN" with the content of <data-dir>/run/token, or use the control socket',
  );

export const foreign = (what: 'Host' | 'Origin', value: string): Refusal =>
  new Refusal(
    403,
    'CONTROL_FORBIDDEN',
    `cannot serve a request whose ${what} is ${JSON.stringify(value.slice(0, 200))}`,
    'use 127.0.0.1 or localhost, or the address of server.bind; pages of other origins are never served',
  );

export const engineStalled = (waitedMs: number, stall: StallNow | null): Refusal =>
  new Refusal(
    503,
    'ENGINE_STALLED',
    `cannot hand this to the main loop: it did not take it within ${waitedMs} ms` +
      (stall === null ? '' : `, has been silent for ${stall.silentMs} ms`) +
      (stall === null || stall.heldBy === null ? '' : ` and is held by ${stall.heldBy}`),
    'the request was withdrawn and will not be carried out; try again when "master_loop status" no longer says engine_stalled',
  );

export const tooMany = (what: string, limit: number): Refusal =>
  new Refusal(503, 'TOO_MANY', `cannot serve more than ${limit} ${what} at once`, 'close some, or try again later');

export const noOutcome = (waitedMs: number): Refusal =>
  new Refusal(
    504,
    'NO_OUTCOME',
    `cannot say how this ended: no outcome within ${waitedMs} ms`,
    'the main loop took the request; "master_loop status" and "master_loop history" show what became of it',
  );
