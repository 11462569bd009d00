import {
  createAdaptorServer,
  type WebSocketServerLike,
} from "@hono/node-server";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from "node:http";
import { type AddressInfo, Socket } from "node:net";
import process from "node:process";
import { type WebSocket, WebSocketServer } from "ws";
import { quietTurns } from "./accept_queue.ts";
import { eventLoopDelayBeyond, exitAfter, LOOK } from "./node_process.ts";
import {
  type Closing,
  type FetchHandler,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
  type Socket as OpenSocket,
} from "./runtime.ts";

export { upgradeWebSocket } from "@hono/node-server";
export { getConnInfo } from "@hono/node-server/conninfo";
export {
  args,
  env,
  hasColors,
  isTerminal,
  onSignal,
  onUncaught,
} from "./node_process.ts";

export const name = "node";
export const version = process.versions.node;
export const oldest = "20.0.0";

/** A connection that never sent a byte may still be about to. */
const UNUSED_GRACE = 100;
/** Half a request head may still become a whole one. */
const HALF_HEAD_GRACE = 1000;
/** How long a client may go on sending a body that nobody reads. */
const LINGER = 2000;

export async function listen(
  fetch: FetchHandler,
  { hostname, port }: ListenOptions,
  opened: (socket: OpenSocket) => () => void,
): Promise<Listener> {
  const connections = new Connections();
  const { server } = connections;
  const websockets = new WebSocketServer({ noServer: true });
  websockets.on("connection", (socket: WebSocket) => {
    const closed = opened({
      close: (code, reason) => socket.close(code, reason),
      cut: () => socket.terminate(),
    });
    socket.on("close", closed);
  });
  createAdaptorServer({
    fetch,
    createServer: ((_: unknown, listener: RequestListener) =>
      server.on("request", connections.track(listener))) as typeof createServer,
    // Structurally the same; their types differ in overloads we do not use.
    websocket: { server: websockets as unknown as WebSocketServerLike },
  });

  await new Promise<void>((resolve, reject) => {
    server.once(
      "error",
      (error: NodeJS.ErrnoException) =>
        reject(new ListenError(failureOf(error), error)),
    );
    server.listen({ host: hostname, port }, resolve);
  });

  const address = server.address() as AddressInfo;
  return {
    hostname,
    port: address.port,
    inFlight: () => connections.inFlight(),
    countAnswers: () => connections.countAnswers(),
    answered: () => connections.answered,
    close: (closing) => connections.close(closing),
    cut: () => connections.cut(),
  };
}

const kConnection = Symbol("connection");

interface Connection {
  socket: Socket;
  /** What is not yet out: the latest response, and pipelined ones before it. */
  response: ServerResponse | undefined;
  earlier: ServerResponse[];
  /** The last request, whose body may go on arriving after its response. */
  request: IncomingMessage | undefined;
  requestAt: number;
  /** When its last response was out. */
  idleSince: number;
}

type Tracked = Socket & { [kConnection]: Connection };

/**
 * Node's own `close()` counts a connection as idle once its response was
 * `end()`ed, flushed or not (30 MB to a slow reader: cut at 4 MB), never sweeps
 * again, and knows nothing of half a request head. So the connections are known
 * here, and each is closed by its own state.
 */
class Connections {
  readonly server: Server;
  readonly #all = new Set<Connection>();
  readonly #upgraded = new Set<Socket>();
  #accepted = 0;
  #counting = false;
  #closing = false;
  #timers: NodeJS.Timeout[] = [];
  answered = 0;

  constructor() {
    // deno-lint-ignore no-this-alias
    const connections = this;
    // Node calls this when a response is out, flushed and all; so no response
    // needs a listener of its own.
    class Response extends ServerResponse {
      override detachSocket(socket: Socket): void {
        super.detachSocket(socket);
        connections.#out(this);
      }
    }
    const server = createServer({
      // Longer than what balancers keep a connection (an ALB: 60 s): whoever
      // reuses one must not find that we closed it in that moment.
      keepAliveTimeout: 75_000,
      ServerResponse: Response,
    });
    this.server = server;
    // close() would sweep "idle" connections by its own wrong measure.
    server.closeIdleConnections = () => {};
    server.on("connection", (socket: Socket) => this.#accept(socket));
    // From here on it is a WebSocket's, which says itself when it is done.
    server.on("upgrade", (_, socket: Socket) => {
      this.#all.delete((socket as Tracked)[kConnection]);
      this.#upgraded.add(socket);
      socket.on("close", () => this.#upgraded.delete(socket));
    });
  }

  /** In front of the handler, and in one listener with it. */
  track(handle: RequestListener): RequestListener {
    return (request, response) => {
      const connection = (request.socket as Tracked)[kConnection];
      connection.request = request;
      connection.requestAt = Date.now();
      if (connection.response) connection.earlier.push(connection.response);
      connection.response = response;
      if (this.#closing) retire(connection);
      return handle(request, response);
    };
  }

  inFlight() {
    return [...this.#all].flatMap(({ response, earlier, requestAt }) =>
      [...earlier, ...response ? [response] : []].map(({ req }) => ({
        method: req.method ?? "",
        url: req.url ?? "",
        since: requestAt,
      }))
    );
  }

  countAnswers(): void {
    this.#counting = true;
  }

  async close(
    { idleGrace, stopped, closeSockets }: Closing,
  ): Promise<void> {
    await quietTurns(
      () => this.#accepted,
      () => new Promise((resolve) => setImmediate(resolve)),
    );
    const closed = new Promise<void>((resolve) =>
      this.server.close(() => resolve())
    );
    stopped();
    const socketsClosed = closeSockets();
    this.#closing = true;
    const began = Date.now();
    for (const connection of this.#all) retire(connection);

    const sweep = () => {
      const now = Date.now();
      for (const connection of this.#all) {
        if (!isIdle(connection)) continue;
        const recent = began - connection.idleSince < idleGrace;
        const grace = hasHalfHead(connection)
          ? HALF_HEAD_GRACE
          : connection.request === undefined
          ? UNUSED_GRACE
          : recent
          ? idleGrace
          : 0;
        if (now - began >= grace) end(connection);
      }
    };
    sweep();
    for (const ms of [UNUSED_GRACE, idleGrace, HALF_HEAD_GRACE]) {
      this.#timers.push(setTimeout(sweep, ms + 1));
    }
    // The app hears of a socket's end after the server does.
    await Promise.all([closed, socketsClosed]);
    this.#timers.forEach(clearTimeout);
  }

  cut(): Promise<void> {
    this.server.close();
    for (const { socket } of this.#all) socket.destroy();
    for (const socket of this.#upgraded) socket.destroy();
    this.#timers.forEach(clearTimeout);
    return Promise.resolve();
  }

  #accept(socket: Socket): void {
    this.#accepted++;
    const connection: Connection = {
      socket,
      response: undefined,
      earlier: [],
      request: undefined,
      requestAt: 0,
      idleSince: 0,
    };
    (socket as Tracked)[kConnection] = connection;
    this.#all.add(connection);
    socket.on("close", () => this.#all.delete(connection));
  }

  #out(response: ServerResponse): void {
    const connection = (response.req.socket as Tracked)[kConnection];
    connection.idleSince = Date.now();
    if (connection.response === response) connection.response = undefined;
    else remove(connection.earlier, response);
    if (this.#counting) this.answered++;
    if (!response.req.complete) lingerOnClose(connection.socket);
    // Node still has to look at the socket before it may go.
    if (this.#closing && isIdle(connection)) {
      queueMicrotask(() => end(connection));
    }
  }
}

function isIdle({ response, earlier }: Connection): boolean {
  return response === undefined && earlier.length === 0;
}

/** The last response of a connection says that it is the last. */
function retire({ response, earlier }: Connection): void {
  earlier.forEach(sayNothing);
  if (response) sayClose(response);
}

/**
 * By shadowing writeHead, for a header set by the app beats `shouldKeepAlive`:
 * Hono's streamSSE sets `Connection: keep-alive` on each of its responses.
 */
function sayClose(response: ServerResponse): void {
  if (response.headersSent || Object.hasOwn(response, "writeHead")) return;
  response.writeHead = function (status: number, ...rest: unknown[]) {
    sayNothing(response);
    const headers = { ...rest.find(isRecord) };
    for (const key of Object.keys(headers)) {
      if (key.toLowerCase() === "connection") delete headers[key];
    }
    return response.writeHead(status, { ...headers, connection: "close" });
  } as ServerResponse["writeHead"];
}

/** A request came in behind this one: it is not the last any more. */
function sayNothing(response: ServerResponse): void {
  delete (response as Partial<ServerResponse>).writeHead;
}

function isRecord(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null;
}

function hasHalfHead({ socket, request }: Connection): boolean {
  return request === undefined && socket.bytesRead > 0;
}

function end({ socket }: Connection): void {
  socket.destroySoon();
}

/**
 * A socket closed while its client still sends answers the client with a reset,
 * and the reset eats the response: @hono/node-server's 2 MB became 0 bytes. So
 * when this one is to close, send our end first, and read on for a while.
 */
function lingerOnClose(socket: Socket): void {
  socket.destroySoon = () => {
    const { request } = (socket as Tracked)[kConnection];
    if (!request || request.complete || socket.destroyed) {
      Socket.prototype.destroySoon.call(socket);
      return;
    }
    if (socket.writableEnded) return;
    socket.end();
    const timer = setTimeout(() => socket.destroy(), LINGER);
    socket.on("close", () => clearTimeout(timer));
    request.on("end", () => socket.destroy());
    request.resume();
  };
}

function remove<T>(items: T[], item: T): void {
  const at = items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
}

function failureOf(error: NodeJS.ErrnoException): ListenFailure {
  switch (error.code) {
    case "EADDRINUSE":
      return "in use";
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "not ours";
    case "EACCES":
    case "EPERM":
      return "denied";
    default:
      return "other";
  }
}

// Not end(): it would also end what a wrapper of ours still has to say.
export const exit = (code: number) =>
  exitAfter((stream, done) => stream.write("", () => done()), code);

// Node counts the time between two looks, Bun what exceeds it.
export const eventLoopDelay = () => eventLoopDelayBeyond(LOOK);
