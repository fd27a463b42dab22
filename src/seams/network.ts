/**
 * The network as a thing that is handed in: what a daemon or an alert sink may do over HTTP. Servers are fastify's.
 */
export interface HttpRequest {
  readonly url: string;
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Milliseconds for the whole exchange. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** A longer answer is refused; default 64 MiB. */
  readonly maxBytes?: number;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface Network {
  /** Resolves for every status; rejects when unreachable, too slow or too long, with the reason. */
  request(request: HttpRequest): Promise<HttpResponse>;
  /** A TCP port on 127.0.0.1 that was free a moment ago. */
  freePort(): Promise<number>;
  /** Milliseconds to open a TCP connection; rejects when refused or too slow. */
  connect(host: string, port: number, timeoutMs: number): Promise<number>;
}
