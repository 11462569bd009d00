import {
  type Closing,
  type FetchHandler,
  type InFlight,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
  type Socket,
} from "./runtime.ts";

export { getConnInfo, upgradeWebSocket } from "hono/deno";

export const name = "deno";
export const version = Deno.version.deno;
export const oldest = "2.9.0";

/**
 * Deno cannot close its listener alone: its stop closes idle connections too.
 * What it may close must have had time to hear `Connection: close` first.
 */
const LAST_MOMENTS = 100;
/** Date.now() costs 1 % of a trivial request; an age needs no more than this. */
const COARSE = 100;

export function env(name: string): string | undefined {
  return Deno.env.get(name);
}

export function listen(
  fetch: FetchHandler,
  { hostname, port }: ListenOptions,
  opened: (socket: Socket) => () => void,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    try {
      const listener = new DenoListener(fetch, hostname, port, opened);
      resolve(listener);
    } catch (error) {
      reject(new ListenError(failureOf(error), error));
    }
  });
}

/** A request that is being served: its handler, or the stream it answered. */
class Exchange {
  constructor(
    readonly request: Request,
    readonly info: Deno.ServeHandlerInfo,
    readonly since: number,
    /** Answers in place of the handler; gone once the handler has answered. */
    public answer?: (response: Response) => void,
  ) {}
}

class DenoListener implements Listener {
  readonly hostname: string;
  readonly port: number;
  readonly #fetch: FetchHandler;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #kill = new AbortController();
  /** What is open: the latest, and those it came behind. */
  #latest: Exchange | undefined;
  readonly #earlier = new Set<Exchange>();
  #now = Date.now();
  readonly #ticking: ReturnType<typeof setInterval>;
  #lastRequest = 0;
  #counting = false;
  #answered = 0;
  /** Requests since `Connection: close` is said. */
  #received = 0;
  /** Every response says `Connection: close`. */
  #retiring = false;
  /** Requests that bring a body are turned away. */
  #refusingBodies = false;
  #stopped = false;
  #onLeft = () => {};
  #onCut = () => {};

  constructor(
    fetch: FetchHandler,
    hostname: string,
    port: number,
    readonly opened: (socket: Socket) => () => void,
  ) {
    this.#fetch = fetch;
    this.#server = Deno.serve({
      hostname,
      port,
      signal: this.#kill.signal,
      onListen() {},
    }, (request, info) => this.#handle(request, info));
    this.hostname = hostname;
    this.port = this.#server.addr.port;
    this.#ticking = setInterval(() => this.#now = Date.now(), COARSE);
    Deno.unrefTimer(this.#ticking as unknown as number);
  }

  /** A synchronous answer with its body at hand needs no one to remember it. */
  #handle(
    request: Request,
    info: Deno.ServeHandlerInfo,
  ): Response | Promise<Response> {
    this.#lastRequest = this.#now;
    if (this.#retiring) this.#received++;
    if (this.#refusingBodies && mayHaveBody(request)) return refusal();
    const result = this.#fetch(request, info);
    if (result instanceof Promise) return this.#track(request, info, result);
    if (upgrades.size > 0) this.#upgraded(result);
    if (isStream(result)) {
      const exchange = new Exchange(request, info, this.#now);
      this.#enter(exchange);
      this.#follow(exchange);
    } else if (this.#counting) this.#answered++;
    return this.#retiring ? sayClose(result) : result;
  }

  #track(
    request: Request,
    info: Deno.ServeHandlerInfo,
    handled: Promise<Response>,
  ): Promise<Response> {
    // Not the handler's own promise: one that never settles would hold
    // shutdown() even after its client has gone.
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(request, info, this.#now, resolve);
      this.#enter(exchange);
      if (this.#retiring) this.#heedLeaving(exchange);
      handled.then((response) => {
        if (exchange.answer === undefined) return;
        exchange.answer = undefined;
        if (upgrades.size > 0) this.#upgraded(response);
        if (isStream(response)) this.#follow(exchange);
        else this.#leave(exchange, true);
        resolve(this.#retiring ? sayClose(response) : response);
      }, (error) => {
        this.#leave(exchange, true);
        reject(error);
      });
    });
  }

  /** Most requests are over before the next one comes: no Set for those. */
  #enter(exchange: Exchange): void {
    if (this.#latest !== undefined) this.#earlier.add(this.#latest);
    this.#latest = exchange;
  }

  /** A streamed response is in flight until its last byte was handed over. */
  #follow(exchange: Exchange): void {
    exchange.info.completed.then(
      () => this.#leave(exchange, true),
      () => this.#leave(exchange, false),
    );
  }

  #leave(exchange: Exchange, answered: boolean): void {
    if (this.#latest === exchange) this.#latest = undefined;
    else if (!this.#earlier.delete(exchange)) return;
    if (this.#counting && answered) this.#answered++;
    this.#onLeft();
  }

  /**
   * Read only now: reading `request.signal` while serving costs two thirds of
   * the throughput.
   */
  #heedLeaving(exchange: Exchange): void {
    exchange.request.signal.addEventListener("abort", () => {
      if (exchange.answer === undefined) return;
      exchange.answer(new Response(null, { status: 499 }));
      exchange.answer = undefined;
      this.#leave(exchange, false);
    });
  }

  #upgraded(response: Response): void {
    const socket = upgrades.get(response);
    if (!socket) return;
    upgrades.delete(response);
    const closed = this.opened({
      close: (code, reason) => socket.close(code, reason),
      // Deno has no way to end it; the end of the process does.
      cut() {},
    });
    socket.addEventListener("close", closed);
  }

  #isOpen(exchange: Exchange): boolean {
    return exchange === this.#latest || this.#earlier.has(exchange);
  }

  get #open(): Exchange[] {
    return [...this.#earlier, ...this.#latest ? [this.#latest] : []];
  }

  inFlight(): InFlight[] {
    return this.#open.map(({ request: { method, url }, since }) => ({
      method,
      url,
      since,
    }));
  }

  countAnswers(): void {
    this.#counting = true;
  }

  answered(): number {
    return this.#answered;
  }

  async close(
    { idleGrace, stopped, closeSockets }: Closing,
  ): Promise<void> {
    this.#retiring = true;
    const recent = Date.now() - this.#lastRequest < idleGrace + COARSE;
    for (const exchange of this.#open) {
      if (exchange.answer) this.#heedLeaving(exchange);
    }
    const cut = new Promise<void>((resolve) => this.#onCut = resolve);
    const grace = Math.max(idleGrace, LAST_MOMENTS);
    let unaware = this.#open.filter(({ answer }) => answer === undefined);
    if (recent || this.#open.length > 0) {
      await Promise.race([cut, delay(grace)]);
    }
    // A response that was on its way before could not say `close`: a client
    // that got the end of it just now may bring one more request as well.
    for (let left = true; left && !this.#stopped;) {
      const still = unaware.filter((exchange) => this.#isOpen(exchange));
      left = still.length < unaware.length;
      unaware = still;
      if (left) await Promise.race([cut, delay(grace)]);
    }
    // shutdown() closes all WebSockets in one instant, and cuts the deaf.
    await Promise.race([cut, closeSockets()]);
    // shutdown() makes every request body unreadable that has not been read,
    // also one that has arrived (denoland/deno#36809). So it has to wait.
    this.#refusingBodies = true;
    await Promise.race([cut, this.#withoutBodies()]);
    await this.#acceptQueue();
    if (this.#stopped) return;
    this.#stopped = true;
    const done = this.#server.shutdown();
    // Deno closes the socket in the next turn of its loop.
    await Promise.race([done, delay(1)]);
    stopped();
    await Promise.race([cut, done]);
    clearInterval(this.#ticking);
  }

  /**
   * Connections that the kernel has accepted and Deno has not are reset when
   * the listener closes. Waiting for a few turns without a new request saves
   * most of them.
   */
  async #acceptQueue(): Promise<void> {
    const until = Date.now() + 250;
    for (let quiet = 0; quiet < 3 && Date.now() < until;) {
      const before = this.#received;
      await delay(1);
      quiet = this.#received === before ? quiet + 1 : 0;
    }
  }

  /** Resolves when no request that may have a body is in flight. */
  #withoutBodies(): Promise<void> {
    return new Promise((resolve) => {
      this.#onLeft = () => {
        for (const { request } of this.#open) {
          if (mayHaveBody(request)) return;
        }
        resolve();
      };
      this.#onLeft();
    });
  }

  async cut(): Promise<void> {
    clearInterval(this.#ticking);
    for (const exchange of this.#open) {
      exchange.answer?.(refusal());
      exchange.answer = undefined;
    }
    // Aborting after shutdown() throws an uncaught BadResource. What is left
    // then is a stream nobody ends: the end of the process cuts it.
    if (!this.#stopped) {
      this.#stopped = true;
      this.#kill.abort();
      await this.#server.finished;
    }
    this.#onCut();
  }
}

/** Upgrades on their way from the app's hands through a listener's. */
const upgrades = new Map<Response, WebSocket>();

// Hono looks this up with each upgrade; there is no other way to hear of one.
const { upgradeWebSocket } = Deno;
Deno.upgradeWebSocket = (request, options) => {
  const upgrade = upgradeWebSocket(request, options);
  upgrades.set(upgrade.response, upgrade.socket);
  return upgrade;
};

const kInner = Object.getOwnPropertySymbols(new Response()).find((symbol) =>
  symbol.description === "response"
);

/**
 * Whether the body is still to be produced. Asking `response.body` would make a
 * stream of every body at 15 % of the throughput, so look where Deno keeps the
 * answer; should that place be gone one day, every response counts as one.
 */
function isStream(response: Response): boolean {
  if (kInner === undefined) return true;
  // deno-lint-ignore no-explicit-any
  const inner = (response as any)[kInner];
  return inner?.body?.streamOrStatic instanceof ReadableStream;
}

function sayClose(response: Response): Response {
  try {
    response.headers.set("Connection", "close");
    return response;
  } catch {
    // Headers that came from fetch() cannot be changed.
    const headers = new Headers(response.headers);
    headers.set("Connection", "close");
    const { status, statusText, body } = response;
    return new Response(body, { status, statusText, headers });
  }
}

function mayHaveBody({ method }: Request): boolean {
  return method !== "GET" && method !== "HEAD";
}

function refusal(): Response {
  const headers = { Connection: "close", "Retry-After": "1" };
  return new Response(null, { status: 503, headers });
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function failureOf(error: unknown): ListenFailure {
  if (error instanceof Deno.errors.AddrInUse) return "in use";
  if (error instanceof Deno.errors.AddrNotAvailable) return "not ours";
  if (
    error instanceof Deno.errors.PermissionDenied ||
    error instanceof Deno.errors.NotCapable
  ) {
    return "denied";
  }
  return "other";
}

export function onSignal(signal: string, listener: () => void): () => void {
  try {
    Deno.addSignalListener(signal as Deno.Signal, listener);
  } catch {
    // Windows knows SIGINT and SIGBREAK only.
    return () => {};
  }
  return () => Deno.removeSignalListener(signal as Deno.Signal, listener);
}

export function onUncaught(listener: (error: unknown) => void): () => void {
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    listener(event.error);
  };
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    listener(event.reason);
  };
  addEventListener("error", onError);
  addEventListener("unhandledrejection", onRejection);
  return () => {
    removeEventListener("error", onError);
    removeEventListener("unhandledrejection", onRejection);
  };
}

/** Deno writes at once: nothing is left to wait for. */
// deno-lint-ignore require-await
export async function exit(code: number): Promise<never> {
  Deno.exit(code);
}
