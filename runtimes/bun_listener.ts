import { connect } from "node:net";
import { type UpgradedSocket, websocketHandler } from "./bun_websocket.ts";
import { NO_REQUEST, reachable } from "./accept_queue.ts";
import { canBeOpen, type Insight, insightInto } from "./bun_insight.ts";
import { CoarseClock } from "./coarse_clock.ts";
import type {
  FetchHandler,
  Host,
  InFlight,
  Listener,
  ListenOptions,
} from "./runtime.ts";
import {
  BLIND_TURN,
  BUN_HALF_HEAD_GRACE,
  BUN_TICK,
  BUN_TLS_FLUSH,
  KNOCK,
  LINGER,
  PENDING_LOOK,
} from "./times.ts";
import { removeSocket } from "./unix_socket.ts";
import { delay, turn } from "./wait.ts";
import { upgraded } from "./websocket.ts";
import { beforeWholeStop, mayHaveBody, sayClose } from "./whole_stop.ts";

interface Seen extends InFlight {
  request: Request;
}

export class BunListener implements Listener {
  readonly hostname: string;
  readonly port: number;
  readonly #unix: string | undefined;
  /** Another process may listen on the same port. */
  readonly #isShared: boolean;
  readonly #fetch: FetchHandler;
  readonly #host: Host;
  readonly #server: Bun.Server<UpgradedSocket>;
  /** The latest request, and earlier ones that were open when it came. */
  #latest: Request | undefined;
  #latestSince = -Infinity;
  #seen: Seen[] = [];
  #sweepAt = 64;
  /** From the first request on. */
  #insight: Insight | undefined;
  /** Where Bun does not name the open ones, the end of a handler counts. */
  readonly #settled = new WeakSet<Request>();
  readonly #clock = new CoarseClock();
  readonly #ticking: Timer;
  /** Requests since the shutdown began, those in flight then included. */
  #counting = false;
  #received = 0;
  #gaveUp = 0;
  #handled = 0;
  /** Every response says `Connection: close`. */
  #retiring = false;
  /** Until then, somebody may still be sending what nobody reads. */
  #lingersUntil = 0;
  /** How long the end of an answer may still be under way when Bun counts none. */
  readonly #flush: number;
  #isDone = false;

  constructor(
    host: Host,
    { hostname, port, unix, tls, reusePort, limits }: ListenOptions,
  ) {
    this.#host = host;
    this.#fetch = host.fetch;
    const { idleTimeout, requestTimeout, writeTimeout } = limits;
    // Typed as if a Unix socket had no idle timeout; it has.
    const place = unix === undefined
      ? { hostname, port, reusePort }
      : { unix } as object;
    this.#unix = unix;
    this.#isShared = reusePort;
    this.#flush = tls ? BUN_TLS_FLUSH : 0;
    this.#server = Bun.serve({
      ...place,
      ...tls && { tls, http2: true },
      // Bun has one clock for all of these, and one of its own for the head
      // (12 s). The default of 10 s cuts slow handlers and quiet streams.
      idleTimeout: seconds(Math.max(idleTimeout, requestTimeout, writeTimeout)),
      // The app's own limit answers; Bun's would close the connection.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      fetch: (request, server) => this.#handle(request, server),
      websocket: websocketHandler(host, limits),
    });
    this.hostname = hostname;
    this.port = this.#server.port ?? 0;
    this.#ticking = setInterval(() => this.#clock.tick(), BUN_TICK);
    this.#ticking.unref();
  }

  #handle(
    request: Request,
    server: Bun.Server<UpgradedSocket>,
  ): Response | Promise<Response> {
    if (hasNoHost(request)) return new Response(null, { status: 400 });
    this.#insight ??= insightInto(server, request);
    this.#remember(request);
    if (this.#counting) this.#count(request);
    const result = this.#fetch(request, server);
    if (!this.#insight.names) this.#follow(request, result);
    const last = result instanceof Promise
      ? mayHaveBody(request)
        ? result.then((response) => this.#answer(request, response))
        : result.then(
          this.#answerBodiless,
          (error) => this.#afterUpgrade(request, error),
        )
      : this.#retiring
      ? this.#answer(request, result)
      : result;
    const isLong = (++this.#handled & 3) === 0 && this.#isLongTurn();
    return isLong ? afterTurn(last) : last;
  }

  /**
   * Bun answers all that has been pipelined on a connection, up to 512 KB of it,
   * before it looks at another one: ten such clients kept all others waiting for
   * 4.6 s. Behind an answer that waits for the next turn it reads no further.
   */
  #isLongTurn(): boolean {
    return performance.now() - this.#clock.now > 2 * BUN_TICK;
  }

  /** Bun has answered an upgrade already: what is thrown then is uncaught. */
  #afterUpgrade(request: Request, error: unknown): Response {
    if (!upgraded.has(request)) throw error;
    this.#host.failed("WebSocket handler", error);
    return new Response(null);
  }

  #answerBodiless = (response: Response) =>
    this.#retiring ? sayClose(response) : response;

  #answer(
    request: Request,
    response: Response,
  ): Response | Promise<Response> {
    if (!this.#retiring) return response;
    const last = sayClose(response);
    if (!request.body) return last;
    // Who has begun to read may have left it at that, as a limit does.
    this.#lingerFor(LINGER);
    if (request.bodyUsed) return last;
    // Bun resets the connection of a retiring response whose request body was
    // not read, and the response is lost with it.
    return Promise.race([discard(request.body), delay(LINGER)])
      .then(() => last);
  }

  /**
   * Bun counts what is pending, and `requestIP` answers exactly while a request
   * is open. So it is enough to keep the one before when others are pending,
   * and to sweep now and then.
   */
  #remember(request: Request): void {
    const others = !this.#insight?.names || this.#server.pendingRequests > 1;
    if (others && this.#latest !== undefined) {
      this.#seen.push(seen(this.#latest, this.#latestSince));
      if (this.#seen.length > this.#sweepAt) this.#sweep();
    }
    this.#latest = request;
    this.#latestSince = this.#clock.now;
  }

  #sweep(): void {
    this.#seen = this.#seen.filter((seen) => this.#isOpen(seen));
    const { names } = this.#insight ?? {};
    if (names && !canBeOpen(this.#server, this.#seen.length)) {
      // Of these, nobody will ever tell.
      this.#insight = { counts: true, names: false };
      this.#seen = [];
      this.#latest = undefined;
    }
    this.#sweepAt = 2 * this.#seen.length + 64;
  }

  #follow(request: Request, result: unknown): void {
    const over = () => void this.#settled.add(request);
    Promise.resolve(result).then(over, over);
  }

  #isOpen({ request }: Pick<Seen, "request">): boolean {
    return this.#insight?.names
      ? this.#server.requestIP(request) !== null
      : !this.#settled.has(request);
  }

  inFlight(): Seen[] {
    this.#sweep();
    const latest = this.#latest;
    return latest && this.#isOpen({ request: latest })
      ? [...this.#seen, seen(latest, this.#latestSince)]
      : this.#seen;
  }

  countAnswers(): void {
    this.#counting = true;
    for (const { request } of this.inFlight()) this.#count(request);
  }

  answered(): number {
    return this.#received - this.#gaveUp - this.inFlight().length;
  }

  #count(request: Request): void {
    this.#received++;
    request.signal.addEventListener("abort", () => this.#gaveUp++);
  }

  async close(idleGrace: number): Promise<void> {
    this.#retiring = true;
    if (this.#pending > 0) this.#lingerFor(this.#flush);
    await beforeWholeStop({
      idleGrace,
      hadTraffic: this.#clock.isRecent(this.#latestSince, idleGrace),
      unaware: this.inFlight(),
      isOpen: (seen) => this.#isOpen(seen),
      // Before stop(), which will close all of them in one instant one day
      // (oven-sh/bun#34961), and drop what was sent to them before.
      closeSockets: () => this.#host.closeSockets(),
      received: () => this.#received,
      knock: () => this.#knock(),
    });
    // A knock's answer is read a turn after it was accepted. What came in that
    // turn is taken in the second of these; the first ends before it reads.
    await turn();
    await turn();
    const wasCut = this.#isDone;
    const stop = this.#server.stop().then(() => this.#isDone = true);
    // The report is out by then, and is the last line.
    if (!wasCut) this.#host.stopped();
    const halfHeads = setTimeout(
      () => this.#cutLeftovers(),
      BUN_HALF_HEAD_GRACE,
    );
    await stop;
    clearTimeout(halfHeads);
    clearInterval(this.#ticking);
    if (this.#unix !== undefined) await removeSocket(this.#unix);
  }

  #knock(): Promise<void> {
    if (this.#isShared) return delay(BLIND_TURN);
    return new Promise((resolve) => {
      const socket = this.#unix === undefined
        ? connect(this.port, reachable(this.hostname))
        : connect(this.#unix);
      const over = () => {
        clearTimeout(timer);
        socket.destroy();
        resolve();
      };
      // Not the socket's own timeout: that does not run while it connects.
      const timer = setTimeout(over, KNOCK);
      socket.on("data", over).on("error", over).on("close", over);
      socket.end(NO_REQUEST);
    });
  }

  get #pending(): number {
    return this.#server.pendingRequests + this.#server.pendingWebSockets;
  }

  #lingerFor(ms: number): void {
    this.#lingersUntil = Math.max(this.#lingersUntil, performance.now() + ms);
  }

  /**
   * stop() waits for half a request head until its client gives up, and for a
   * connection that was answered before its request body was read. Neither is
   * counted as pending: when nothing is, what is left may be cut.
   */
  async #cutLeftovers(): Promise<void> {
    if (this.#insight?.counts === false) return;
    const isBusy = () => {
      const isPending = this.#pending > 0;
      if (isPending) this.#lingerFor(this.#flush);
      return isPending || performance.now() < this.#lingersUntil;
    };
    // Bun has no event for the last byte of a response, only this counter.
    while (isBusy() && !this.#isDone) await delay(PENDING_LOOK);
    await this.#server.stop(true);
  }

  async cut(): Promise<void> {
    this.#isDone = true;
    clearInterval(this.#ticking);
    await this.#server.stop(true);
  }
}

/**
 * With a Host that is none, Bun's URL is the path alone; Hono would take the
 * second part of "/public/private" for the whole.
 */
function hasNoHost({ url }: Request): boolean {
  return url.startsWith("/");
}

/**
 * Bun takes whole seconds, 255 at most, and looks every four: a timeout of four
 * or less strikes at the next look, even while data flows.
 */
function seconds(ms: number): number {
  return Math.min(255, Math.max(5, Math.ceil(ms / 1000)));
}

function seen(request: Request, since: number): Seen {
  const { method, url } = request;
  return { request, method, url, since };
}

async function afterTurn(
  response: Response | Promise<Response>,
): Promise<Response> {
  return (await Promise.all([response, turn()]))[0];
}

async function discard(body: ReadableStream<Uint8Array>): Promise<void> {
  try {
    for await (const _ of body);
  } catch {
    // The client left, or the app holds the body: nothing to wait for.
  }
}
