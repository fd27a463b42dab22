/** Services of the master itself that a few daemons get beside the floor. */
import type { RouterHost } from '../events/router-api.ts';

/** Handed to EVENT_ROUTER, which owns the router thread, and to those that tend its books. */
export interface RouterService {
  readonly router: RouterHost;
}

/** For EVENT_ROUTER alone: ends the thread where it is. Works after its start was revoked, which is when it is needed. */
export interface RouterThreadService {
  readonly endRouterThread: () => Promise<void>;
}

/** Folder where other programs drop events. */
export interface InboxService {
  /** `<data-dir>/inbox`. */
  readonly inboxFolder: string;
}

/** How HEALTH_SERVER reaches the master's own endpoints from outside. */
export interface EndpointsService {
  /** GET over the control socket: status and body, with a deadline. */
  readonly controlGet: (
    path: string,
    timeoutMs: number,
  ) => Promise<{ readonly status: number; readonly body: string; readonly ms: number }>;
}
