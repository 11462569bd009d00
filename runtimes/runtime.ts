/**
 * Everything `src/` may ask of a runtime: types only. The three files beside
 * this one are mechanism; when and why belongs to `lastcall`.
 *
 * Every member is required. A runtime that cannot do something does the closest
 * honest thing and says so where it does it, so that nothing is silently absent.
 */

export type FetchHandler = (
  request: Request,
  // Each runtime hands its own second argument through untouched, which is
  // what Hono's getConnInfo and upgradeWebSocket look for.
  // deno-lint-ignore no-explicit-any
  env?: any,
) => Response | Promise<Response>;

export interface Runtime {
  readonly name: "deno" | "bun" | "node";
  readonly version: string;
  /** The first version whose behaviour was measured and found good. */
  readonly oldest: string;
  /** Whether a person may be reading stdout. */
  readonly isTerminal: boolean;
  /** Whether that terminal shows colours, and nobody set NO_COLOR. */
  readonly hasColors: boolean;
  /** The process's two outputs: the engine and the app write nowhere else. */
  readonly stdout: Output;
  readonly stderr: Output;
  env(name: string): string | undefined;
  /** What the command line said after the program. */
  args(): string[];
  /**
   * By how many milliseconds, on average, the event loop was late since this
   * was last asked. Undefined where the runtime cannot tell.
   */
  eventLoopDelay(): number | undefined;
  /**
   * Resolves when the socket listens; rejects with a ListenError.
   */
  listen(host: Host, options: ListenOptions): Promise<Listener>;
  /** Returns how to stop listening. A signal the platform lacks is no error. */
  onSignal(signal: string, listener: () => void): () => void;
  /** Uncaught errors and unhandled rejections, in place of a crash. */
  onUncaught(listener: (error: unknown) => void): () => void;
  /** Every request may listen to this signal: many listeners are no leak. */
  expectManyListeners(signal: AbortSignal): void;
  /** What the process ends with if it ends by itself. */
  setExitCode(code: number): void;
  /**
   * Ends the process once what was written to stdout and stderr is out, or its
   * reader has had two seconds to make room for it.
   */
  exit(code: number): Promise<never>;
}

export interface Output {
  /**
   * Takes one or more whole lines. Never waits, never throws; what waits for a
   * reader is bounded, and what was lost for that, or because it could not be
   * written, is told in a line before the first that gets through again.
   */
  write(lines: string, describeLost?: (lost: Lost) => string): void;
}

export interface Lost {
  lines: number;
  bytes: number;
}

export interface ListenOptions {
  hostname: string;
  port: number;
  /** The path of a Unix socket, in place of a host name and a port. */
  unix: string | undefined;
  tls: Tls | undefined;
  /** Another process may listen on the same port. */
  reusePort: boolean;
  limits: Limits;
}

/** Paths of PEM files, or their content. */
export interface Tls {
  cert: string;
  key: string;
}

/**
 * What a client may take of this server, in milliseconds, bytes and numbers.
 * What a runtime has no setting for stands in docs/limits.md.
 */
export interface Limits {
  /** Until the head of a request is there. */
  headTimeout: number;
  /** Until the whole request is there. */
  requestTimeout: number;
  /** How long a connection may wait for its next request. */
  idleTimeout: number;
  /** How long a client may take nothing of the response that waits for it. */
  writeTimeout: number;
  headSize: number;
  connections: number;
  /** Of a WebSocket's message, all of its fragments together. */
  messageSize: number;
  /** What may wait to be sent to a WebSocket's client; beyond it, it is cut. */
  sendBuffer: number;
}

/** One listening socket and the connections that came through it. */
export interface Listener {
  readonly hostname: string;
  readonly port: number;
  /** Who is being served right now. */
  inFlight(): InFlight[];
  /** The shutdown has begun: from here on, count what is answered. */
  countAnswers(): void;
  /** How many requests were answered since `countAnswers`. */
  answered(): number;
  /**
   * Stops accepting and lets what is in flight finish; every response from here
   * on says `Connection: close`. A connection used within the last `idleGrace`
   * milliseconds may bring one more request. Resolves after the last byte and
   * the last WebSocket.
   */
  close(idleGrace: number): Promise<void>;
  /** Cuts whatever is left of `close`, now. */
  cut(): Promise<void>;
}

/** What a listener serves, and whom it tells what happens to it. */
export interface Host {
  readonly fetch: FetchHandler;
  /** A WebSocket has opened; the result is to be called when it has closed. */
  opened(socket: Socket): () => void;
  /** Something threw where nobody else hears of it; it cost one connection. */
  failed(what: "WebSocket handler" | "response", error: unknown): void;
  /** It listens no more; the result is to be called when it does again. */
  lost(cause: unknown): () => void;
  /** Asked to close, it accepts nothing any more. */
  stopped(): void;
  /**
   * Closes the WebSockets and resolves when all are gone. To be called when
   * nothing is accepted any more, or as late as the runtime allows.
   */
  closeSockets(): Promise<void>;
}

/** An open WebSocket. */
export interface Socket {
  /** Closes it once what was sent before has been delivered. */
  close(code: number, reason: string): void;
  /** Ends the connection, whatever the peer does. */
  cut(): void;
}

export interface InFlight {
  method: string;
  url: string;
  /** In the terms of performance.now(), true to about 100 ms. */
  since: number;
}

/** Why a socket could not listen, in words that all runtimes share. */
export type ListenFailure =
  | "in use"
  | "not ours"
  | "denied"
  | "certificate"
  | "other";

/** What of its options may have to change, so that it can. */
export type Setting = "hostname" | "port" | "unix" | "tls.cert" | "tls.key";

export class ListenError extends Error {
  override name = "ListenError";
  constructor(
    readonly failure: ListenFailure,
    cause: unknown,
    /** Where the failure alone does not tell. */
    readonly settings?: Setting[],
  ) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
