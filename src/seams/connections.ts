/**
 * A bound on the connections of an HTTP server that no slow or idle client can turn against the others.
 *
 * At the limit, the connection that has been idle longest is closed for the new one; only when every one has a request
 * under way is the new one closed. So a hundred clients that keep a connection and ask nothing never keep a health probe
 * out.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Fill } from '../bounds.ts';

/** Connections at once: far more than anybody needs here, far fewer than the master has file descriptors. */
export const CONNECTIONS_MAX = 256;
/** What a request may take before its route is found, for the `http` options of a server. Bytes and milliseconds. */
export const REQUEST_BOUNDS = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 5_000,
  /** How often requests that arrive too slowly are looked for. */
  connectionsCheckingInterval: 1_000,
} as const;

/** @returns how full it is; dropped are connections that were closed for another, or at once */
export const boundConnections = (server: Server, limit: number): (() => Fill) => {
  /** Requests under way, by connection; idle ones in the order in which they became idle. */
  const busy = new Map<Socket, number>();
  let dropped = 0;
  server.on('connection', (socket: Socket) => {
    if (busy.size >= limit) {
      dropped++;
      const idle = [...busy].find(([, requests]) => requests === 0)?.[0];
      if (idle === undefined) {
        socket.destroy();
        return;
      }
      busy.delete(idle);
      idle.destroy();
    }
    busy.set(socket, 0);
    socket.once('close', () => busy.delete(socket));
  });
  server.on('request', (request, response) => {
    const { socket } = request;
    const count = (by: number): void => {
      const requests = busy.get(socket);
      if (requests === undefined) return;
      busy.delete(socket);
      busy.set(socket, requests + by);
    };
    count(1);
    response.once('close', () => count(-1));
  });
  return () => ({ size: busy.size, limit, dropped });
};
