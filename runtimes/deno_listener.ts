import { emptyAcceptQueue } from "./accept_queue.ts";
import { CoarseClock } from "./coarse_clock.ts";
import { Exchange, isOpen } from "./deno_exchange.ts";
import { knockAt } from "./deno_knock.ts";
import { belongsTo, hasUpgrade, withUpgrade } from "./deno_websocket.ts";
import { denoSizeOf, isRight, type SizeOf } from "./response_size.ts";
import type { Host, Listener, ListenOptions } from "./runtime.ts";
import { GOODBYE, LINGER, RELISTEN, TICK, TLS_FLUSH } from "./times.ts";
import { removeSocket } from "./unix_socket.ts";
import { delay } from "./wait.ts";
import { beforeWholeStop, mayHaveBody, sayClose } from "./whole_stop.ts";

/** Bytes per millisecond: whoever reads more slowly is not waited for. */
const SLOWEST_READER = 16;
/**
 * What HTTP/2 may still hold of a stream that has ended. Not of an event stream:
 * its client is no further behind than its last events.
 */
const STREAM_REST = 65_536;

/** Each may still have connections, and costs a little memory. */
const MOST_SERVERS = 100;

/** Variables in a closure: a class with private fields measured slower. */
export function openListener(
  host: Host,
  { hostname, port, unix, tls, reusePort, limits }: ListenOptions,
): Listener {
  const { fetch } = host;
  const clock = new CoarseClock();
  const websockets = { host, limits };
  let lastRequest = -Infinity;
  const open: Exchange[] = [];
  /** Until then, a client may be taking what it was answered, or sending. */
  let busyUntil = 0;

  let counting = false;
  let answered = 0;
  /** Every response says `Connection: close`; requests since then. */
  let retiring = false;
  let received = 0;
  /** New requests that shutdown() would break get a 503. */
  let refusing = false;
  let stopped = false;
  let onLeft = () => {};
  let onCut = () => {};

  let serving = handle;
  const handler = (request: Request, info: Deno.ServeHandlerInfo) =>
    serving(request, info);
  /** The last one listens; those before lost their listener. */
  let servers: { server: Deno.HttpServer; kill: AbortController }[] = [];
  let pause = RELISTEN.first;
  const { addr } = serve(port);
  const boundPort = (addr as Deno.NetAddr).port ?? 0;
  const knock = () => knockAt({ hostname, port: boundPort, unix, reusePort });
  const ticking = setInterval(() => clock.tick(), TICK);
  Deno.unrefTimer(ticking as unknown as number);

  return {
    hostname,
    port: boundPort,
    inFlight: () =>
      open.map(({ request: { method, url }, since }) => (
        { method, url, since }
      )),
    countAnswers: () => void (counting = true),
    answered: () => answered,
    close,
    cut,
  };

  function serve(port: number): Deno.HttpServer {
    const kill = new AbortController();
    const common = { signal: kill.signal, onListen() {} };
    const server = unix === undefined
      ? Deno.serve({ ...common, hostname, port, reusePort, ...tls }, handler)
      : Deno.serve({ ...common, path: unix }, handler);
    servers.push({ server, kill });
    // Whoever makes it fail over and over takes no memory with it.
    if (servers.length > MOST_SERVERS) void servers.shift()!.server.shutdown();
    const since = performance.now();
    const ended = (cause: unknown) => {
      if (performance.now() - since > RELISTEN.longest) pause = RELISTEN.first;
      void listenAgain(host.lost(cause));
    };
    server.finished.then(() => {
      if (stopped || !servers.some((one) => one.server === server)) return;
      // Closed, connections and all, as after an upgrade that was no upgrade:
      // to abort it now would throw an uncaught BadResource.
      servers = servers.filter((one) => one.server !== server);
      ended(new Error("Deno.serve ended by itself."));
    }, (cause) => {
      if (!stopped) ended(cause);
    });
    return server;
  }

  /**
   * Out of file descriptors, Deno gives up its listener, not its connections.
   * Nobody tells when there are descriptors again, so try.
   */
  async function listenAgain(found: () => void): Promise<void> {
    for (;;) {
      await delay(pause);
      pause = Math.min(2 * pause, RELISTEN.longest);
      if (unix !== undefined) await removeSocket(unix);
      if (stopped) return;
      try {
        serve(boundPort);
        return found();
      } catch {
        // Next time, perhaps.
      }
    }
  }

  /** A synchronous answer with its body at hand needs no one to remember it. */
  function handle(
    request: Request,
    info: Deno.ServeHandlerInfo,
  ): Response | Promise<Response> {
    lastRequest = clock.now;
    belongsTo(websockets, info);
    const result = fetch(request, info);
    if (result instanceof Promise) return track(request, info, result);
    const size = sizeOf(result);
    if (size === undefined) {
      follow(enter(new Exchange(request, info, clock.now)), result);
    } else {
      handedOver(request, size);
      if (counting) answered++;
    }
    return withUpgrade(info, result);
  }

  function handleLast(
    request: Request,
    info: Deno.ServeHandlerInfo,
  ): Response | Promise<Response> {
    received++;
    if (refusing && breaks(request)) return refusal();
    const result = handle(request, info);
    return result instanceof Promise ? result : sayClose(result);
  }

  function track(
    request: Request,
    info: Deno.ServeHandlerInfo,
    handled: Promise<Response>,
  ): Promise<Response> {
    // Not the handler's own promise: one that never settles would hold
    // shutdown() even after its client has gone.
    return new Promise((resolve, reject) => {
      const exchange = enter(new Exchange(request, info, clock.now, resolve));
      if (retiring) heedLeaving(exchange);
      handled.then((response) => {
        if (exchange.answer === undefined) return;
        exchange.answer = undefined;
        response = withUpgrade(info, response);
        const size = sizeOf(response);
        if (size === undefined) follow(exchange, response);
        else {
          handedOver(request, size);
          leave(exchange, true);
        }
        resolve(retiring ? sayClose(response) : response);
      }, (error) => {
        leave(exchange, true);
        if (!hasUpgrade(info)) return reject(error);
        host.failed("WebSocket handler", error);
        resolve(withUpgrade(info, new Response()));
      });
    });
  }

  /** Each knows its place in the list: a Set cost a tenth of a stream. */
  function enter(exchange: Exchange): Exchange {
    exchange.place = open.push(exchange) - 1;
    return exchange;
  }

  /** A response that is no longer tracked may still be on its way. */
  function handedOver(request: Request, size: number): void {
    const reading = size / SLOWEST_READER;
    const ms = mayHaveBody(request) ? Math.max(reading, LINGER) : reading;
    busyUntil = Math.max(busyUntil, clock.now + ms);
  }

  /** A streamed response is in flight until its last byte was handed over. */
  function follow(exchange: Exchange, { headers }: Response): void {
    const type = headers.get("content-type");
    const rest = type?.startsWith("text/event-stream") ? 0 : STREAM_REST;
    exchange.info.completed.then(
      () => {
        handedOver(exchange.request, rest);
        leave(exchange, true);
      },
      () => leave(exchange, false),
    );
  }

  function leave(exchange: Exchange, whole: boolean): void {
    if (!isOpen(exchange)) return;
    const last = open.pop()!;
    if (last !== exchange) {
      open[exchange.place] = last;
      last.place = exchange.place;
    }
    exchange.place = -1;
    if (counting && whole) answered++;
    onLeft();
  }

  /**
   * Read only now: reading `request.signal` while serving costs two thirds of
   * the throughput.
   */
  function heedLeaving(exchange: Exchange): void {
    const left = () => {
      if (exchange.answer === undefined) return;
      const gone = new Response(null, { status: 499 });
      exchange.answer(withUpgrade(exchange.info, gone));
      exchange.answer = undefined;
      leave(exchange, false);
    };
    const { signal } = exchange.request;
    // Where the app has read it before us, it may have told already.
    if (signal.aborted) left();
    else signal.addEventListener("abort", left);
  }

  async function close(idleGrace: number): Promise<void> {
    retiring = true;
    serving = handleLast;
    const cut = new Promise<void>((resolve) => onCut = resolve);
    for (const exchange of [...open]) {
      if (exchange.answer) heedLeaving(exchange);
    }
    await Promise.race([cut, beforeStop(idleGrace)]);
    if (!stopped) {
      stopped = true;
      const done = Promise.all(
        servers.map(({ server }) => server.shutdown()),
      );
      // Deno closes the socket in the next turn of its loop.
      const atOnce = await Promise.race([done.then(() => true), delay(1)]);
      host.stopped();
      const flushed = tls && !atOnce ? done.then(() => delay(TLS_FLUSH)) : done;
      await Promise.race([cut, flushed, nobodyInFlight()]);
    }
    await over();
  }

  async function over(): Promise<void> {
    clearInterval(ticking);
    if (unix !== undefined) await removeSocket(unix);
  }

  /**
   * shutdown() waits for ever for a client that has vanished from HTTP/2, one
   * whose TLS handshake is not over, and one that goes on sending what nobody
   * reads. It also waits for the last byte of each response, and does not tell
   * for which of them. So it is believed for as long as it may be a response.
   */
  async function nobodyInFlight(): Promise<void> {
    if (!knowsSizes) return new Promise(() => {});
    for (let from = performance.now();;) {
      if (open.length > 0) {
        await left((open) => open.length === 0);
        from = performance.now();
      }
      const ms = Math.max(busyUntil, from + GOODBYE) - performance.now();
      if (ms <= 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        // shutdown() holds the process, and nobody else needs to.
        Deno.unrefTimer(timer as unknown as number);
      });
    }
  }

  /** What must have happened before shutdown() may be called. */
  async function beforeStop(idleGrace: number): Promise<void> {
    await beforeWholeStop({
      idleGrace,
      hadTraffic: clock.isRecent(lastRequest, idleGrace) || open.length > 0,
      unaware: open.filter(({ answer }) => answer === undefined),
      isOpen,
      // shutdown() closes all WebSockets in one instant, and cuts the deaf.
      closeSockets: () => host.closeSockets(),
      received: () => received,
      knock,
    });
    // Not before, so that nobody is turned away where nothing is waited for.
    refusing = true;
    if (!open.some(isBreakable)) return;
    await left((open) => !open.some(isBreakable));
    await emptyAcceptQueue(() => received, knock);
  }

  /**
   * Whether shutdown() would break this request, and so has to wait for it. It
   * makes every request body unreadable that has not been read, also one that
   * has arrived (denoland/deno#36809). Over HTTP/2, which needs no TLS, it sends
   * GOAWAY; to a client that answers with one of its own (Node's does, always)
   * Deno then closes the connection, open streams and all. Only HTTP/1.1
   * requests bring a Host.
   */
  function breaks(request: Request): boolean {
    return mayHaveBody(request) || !request.headers.has("host");
  }

  function isBreakable({ request }: Exchange): boolean {
    return breaks(request);
  }

  /** Resolves once those that have left leave `open` in such a state. */
  function left(isSo: (open: Exchange[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      onLeft = () => {
        if (isSo(open)) resolve();
      };
    });
  }

  async function cut(): Promise<void> {
    for (const exchange of open) {
      exchange.answer?.(withUpgrade(exchange.info, refusal()));
      delete exchange.answer;
    }
    // Aborting after shutdown() throws an uncaught BadResource. What is left
    // then is a stream nobody ends: the end of the process cuts it.
    if (!stopped) {
      stopped = true;
      for (const { kill } of servers) kill.abort();
      await Promise.allSettled(servers.map(({ server }) => server.finished));
    }
    onCut();
    await over();
  }
}

const found = denoSizeOf();
const knowsSizes = isRight(found);
/** Should Deno keep bodies elsewhere one day, every response is a stream. */
const sizeOf: SizeOf = knowsSizes ? found : () => undefined;

function refusal(): Response {
  const headers = { Connection: "close", "Retry-After": "1" };
  return new Response(null, { status: 503, headers });
}
