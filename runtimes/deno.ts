import {
  type FetchHandler,
  type InFlight,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
} from "./runtime.ts";

export { getConnInfo } from "hono/deno";

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
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    try {
      const listener = new DenoListener(fetch, hostname, port);
      resolve(listener);
    } catch (error) {
      reject(new ListenError(failureOf(error), error));
    }
  });
}

/** A request that is being served: its handler, or the stream it answered. */
interface Exchange extends InFlight {
  request: Request;
  info: Deno.ServeHandlerInfo;
  /** Answers in place of the handler; undefined once the handler has answered. */
  answer: ((response: Response) => void) | undefined;
}

class DenoListener implements Listener {
  readonly hostname: string;
  readonly port: number;
  readonly #fetch: FetchHandler;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #kill = new AbortController();
  readonly #open = new Set<Exchange>();
  #now = Date.now();
  readonly #ticking: ReturnType<typeof setInterval>;
  #lastRequest = 0;
  #counting = false;
  #answered = 0;
  /** Every response says `Connection: close`. */
  #retiring = false;
  /** Requests that bring a body are turned away. */
  #refusingBodies = false;
  #stopped = false;
  #onLeft = () => {};
  #onCut = () => {};

  constructor(fetch: FetchHandler, hostname: string, port: number) {
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
    if (this.#refusingBodies && mayHaveBody(request)) return refusal();
    const result = this.#fetch(request, info);
    if (result instanceof Promise) return this.#track(request, info, result);
    if (isStream(result)) this.#follow(this.#exchange(request, info));
    else if (this.#counting) this.#answered++;
    return this.#retiring ? sayClose(result) : result;
  }

  #exchange(request: Request, info: Deno.ServeHandlerInfo): Exchange {
    const { method, url } = request;
    const since = this.#now;
    const answer = undefined;
    const exchange = { request, info, method, url, since, answer };
    this.#open.add(exchange);
    return exchange;
  }

  #track(
    request: Request,
    info: Deno.ServeHandlerInfo,
    handled: Promise<Response>,
  ): Promise<Response> {
    const exchange = this.#exchange(request, info);
    // Not the handler's own promise: one that never settles would hold
    // shutdown() even after its client has gone.
    return new Promise((resolve, reject) => {
      exchange.answer = resolve;
      if (this.#retiring) this.#heedLeaving(exchange);
      handled.then((response) => {
        if (exchange.answer === undefined) return;
        exchange.answer = undefined;
        if (isStream(response)) this.#follow(exchange);
        else this.#leave(exchange, true);
        resolve(this.#retiring ? sayClose(response) : response);
      }, (error) => {
        this.#leave(exchange, true);
        reject(error);
      });
    });
  }

  /** A streamed response is in flight until its last byte was handed over. */
  #follow(exchange: Exchange): void {
    exchange.info.completed.then(
      () => this.#leave(exchange, true),
      () => this.#leave(exchange, false),
    );
  }

  #leave(exchange: Exchange, answered: boolean): void {
    if (!this.#open.delete(exchange)) return;
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

  inFlight(): InFlight[] {
    return [...this.#open];
  }

  countAnswers(): void {
    this.#counting = true;
  }

  answered(): number {
    return this.#answered;
  }

  async close(idleGrace: number, stopped: () => void): Promise<void> {
    this.#retiring = true;
    const recent = Date.now() - this.#lastRequest < idleGrace + COARSE;
    for (const exchange of this.#open) {
      if (exchange.answer) this.#heedLeaving(exchange);
    }
    const cut = new Promise<void>((resolve) => this.#onCut = resolve);
    if (recent || this.#open.size > 0) {
      await Promise.race([cut, delay(Math.max(idleGrace, LAST_MOMENTS))]);
    }
    // shutdown() makes every request body unreadable that has not been read,
    // also one that has arrived (denoland/deno#36809). So it has to wait.
    this.#refusingBodies = true;
    await Promise.race([cut, this.#withoutBodies()]);
    if (this.#stopped) return;
    this.#stopped = true;
    const done = this.#server.shutdown();
    stopped();
    await Promise.race([cut, done]);
    clearInterval(this.#ticking);
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
