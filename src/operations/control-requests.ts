/**
 * What the server thread forwards, carried out on the main loop: one case per kind of request, each one call of whoever
 * owns the matter. Nothing is decided here.
 */
import { OrchestratorError } from '../errors.ts';
import type { Supervisor } from '../orchestrator/supervisor.ts';
import type { Drills } from './drills/drills.ts';
import type { EventControl } from './event-control.ts';
import type { Logging } from './logging/logging.ts';
import type { RequestHandler } from './server/host.ts';
import type { ControlReply } from './server/protocol.ts';

export interface ControlParts {
  readonly supervisor: Pick<Supervisor, 'execute' | 'plan'>;
  /** Null: no daemon of this fleet has events. */
  readonly events: EventControl | null;
  readonly drills: Pick<Drills, 'handle'>;
  readonly logging: Pick<Logging, 'setLevel' | 'master'>;
}

const noEvents = (): OrchestratorError =>
  new OrchestratorError('REFUSED', {
    message: 'cannot reach the event router: this fleet has no EVENT_ROUTER',
    remedy: 'add "EVENT_ROUTER: { uses: event-router }" to its daemons',
  });

const done = (body: unknown): ControlReply => ({ ok: true, body });

export const controlRequests =
  ({ supervisor, events, drills, logging }: ControlParts): RequestHandler =>
  async (request, signal) => {
    switch (request.kind) {
      case 'act': {
        const { daemons = [], origin = 'operator', reason = '', waitMs = 0, ...act } = request.act;
        return done(await supervisor.execute({ ...act, daemons, origin, reason, waitMs }));
      }
      case 'plan':
        if (request.verb === 'boot')
          throw new OrchestratorError('BAD_REQUEST', {
            message: 'cannot plan a boot of a loop that runs',
            remedy: '"master_loop plan boot" reads the fleet file itself',
          });
        return done(supervisor.plan(request.verb, request.daemons));
      case 'log-level': {
        const previous = logging.setLevel(request.level);
        logging.master.info(`log level ${previous} → ${request.level}, by an operator`);
        return done({ level: request.level, previous });
      }
      case 'events':
        if (events === null) throw noEvents();
        return done(await events.handle(request.verb, request.arguments, signal));
      case 'drills':
        return done(await drills.handle(request.verb, request.arguments, signal));
    }
  };
