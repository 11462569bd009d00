import { EventEmitter } from "node:events";
import {
  createServer,
  IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from "node:http";
import {
  createSecureServer,
  type Http2SecureServer,
  Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { Server as NetServer, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { emptyAcceptQueue } from "./accept_queue.ts";
import { CoarseClock, TICK } from "./coarse_clock.ts";
import { http2Options, Sessions } from "./node_http2.ts";
import type { Closing, InFlight, Limits, Tls } from "./runtime.ts";

/** A connection that never sent a byte may still be about to. */
const UNUSED_GRACE = 100;
/** Half a request head may still become a whole one. */
const HALF_HEAD_GRACE = 1000;
/** How long a client may go on sending a body that nobody reads. */
const LINGER = 2000;
/** How often heads, requests and readers are looked for that take too long. */
const CHECKING = 1000;

const kConnection = Symbol("connection");
const kUpgrade = Symbol("upgrade");

interface Connection {
  socket: Socket;
  /** What is not yet out: the latest response, and pipelined ones before it. */
  response: ServerResponse | undefined;
  earlier: ServerResponse[];
  /** When its last request came; 0 before the first. */
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
export class Connections {
  readonly server: Server;
  /** Emits the upgrades to a WebSocket: "upgrade", as a server would. */
  readonly upgrades = new EventEmitter();
  readonly #sessions: Sessions | undefined;
  /** Sockets whose TLS handshake is not over, by their peer. */
  readonly #handshaking = new Map<string, Socket>();
  readonly #limits: Limits;
  readonly #all = new Set<Connection>();
  /** Each with its request, until that has become a WebSocket. */
  readonly #upgraded = new Map<Socket, InFlight | undefined>();
  /** One for all: a closure for each was a tenth of an idle connection. */
  readonly #gone: (this: Socket) => void;
  #accepted = 0;
  #counting = false;
  #closing = false;
  readonly #clock = new CoarseClock();
  readonly #timers: NodeJS.Timeout[] = [];
  #answered = 0;

  constructor(limits: Limits, tls: Tls | undefined) {
    this.#limits = limits;
    // deno-lint-ignore no-this-alias
    const connections = this;
    this.#gone = function () {
      connections.#all.delete((this as Tracked)[kConnection]);
    };
    // Node calls this when a response is out, flushed and all; so no response
    // needs a listener of its own.
    class Response extends ServerResponse<Request> {
      // @hono/node-server sends a stream's head by itself, before what the
      // stream has at hand. Together they are one system call, not two: a
      // seventh more streams.
      override flushHeaders(): void {
        const { socket } = this;
        socket?.cork();
        super.flushHeaders();
        if (socket) setImmediate(uncork, socket);
      }
      override detachSocket(socket: Socket): void {
        super.detachSocket(socket);
        connections.#out(this);
      }
    }
    const server = tls
      ? createSecureServer({
        ...tls,
        allowHTTP1: true,
        handshakeTimeout: limits.headTimeout,
        Http1IncomingMessage: Request,
        Http1ServerResponse: Response,
        ...http2Options(limits),
      }) as unknown as Server
      : createServer({
        IncomingMessage: Request,
        ServerResponse: Response,
      });
    this.server = server;
    server.headersTimeout = Math.min(limits.headTimeout, limits.requestTimeout);
    server.requestTimeout = limits.requestTimeout;
    server.keepAliveTimeout = limits.idleTimeout;
    Object.assign(server, {
      connectionsCheckingInterval: CHECKING,
      maxHeaderSize: limits.headSize,
    });
    if (limits.connections < Infinity) {
      server.maxConnections = limits.connections;
    }
    if (tls) {
      const secure = server as unknown as Http2SecureServer;
      this.#sessions = new Sessions(secure, limits);
      secure.on("connection", (socket: Socket) => this.#handshake(socket));
      secure.on("secureConnection", (socket: TLSSocket) => {
        this.#handshaking.delete(peerOf(socket));
        if (socket.alpnProtocol !== "h2") this.#accept(socket);
      });
    } else {
      server.on("connection", (socket: Socket) => {
        this.#accepted++;
        this.#accept(socket);
      });
    }
    server.on("timeout", (socket: Socket) => this.#timeout(socket));
    // Not before: one that cannot listen is never closed.
    server.on("listening", () => {
      this.#timers.push(
        setInterval(() => this.#clock.tick(), TICK).unref(),
        setInterval(() => this.#watchReaders(), CHECKING).unref(),
      );
    });
    // From here on it is a WebSocket's, which says itself when it is done.
    server.on("upgrade", (request, socket: Socket, head) => {
      this.#all.delete((socket as Tracked)[kConnection]);
      const { method = "", url = "" } = request;
      this.#upgraded.set(socket, { method, url, since: Date.now() });
      socket.on("close", () => this.#upgraded.delete(socket));
      // @hono/node-server answers a refused upgrade only where its listener is
      // the only one; so it listens there.
      this.upgrades.emit("upgrade", request, socket, head);
    });
  }

  /** In front of the handler, and in one listener with it. */
  track(handle: RequestListener): RequestListener {
    return (request, response) => {
      const { httpVersionMajor } = request;
      if (httpVersionMajor > 1 && isHttp2(request)) {
        const http2 = response as unknown as Http2ServerResponse;
        if (this.#sessions!.request(request, http2)) handle(request, response);
        return;
      }
      const connection = (request.socket as Tracked)[kConnection];
      connection.requestAt = this.#clock.now;
      if (connection.response) connection.earlier.push(connection.response);
      connection.response = response;
      if (this.#closing) retire(connection);
      // Node's parser lets HTTP/0.9 and HTTP/2.0 pass in a line of text.
      if (httpVersionMajor !== 1) return refuseVersion(response);
      return handle(request, response);
    };
  }

  /** The app has made a WebSocket of it. */
  opened(socket: Socket): void {
    if (this.#upgraded.has(socket)) this.#upgraded.set(socket, undefined);
  }

  inFlight(): InFlight[] {
    const upgrading = [...this.#upgraded.values()].filter((one) => !!one);
    const http1 = [...this.#all].flatMap(({ response, earlier, requestAt }) =>
      [...earlier, ...response ? [response] : []].map(({ req }) => ({
        method: req.method ?? "",
        url: req.url ?? "",
        since: requestAt,
      }))
    );
    return [...http1, ...upgrading, ...this.#sessions?.inFlight() ?? []];
  }

  countAnswers(): void {
    this.#counting = true;
    this.#sessions?.countAnswers();
  }

  get answered(): number {
    return this.#answered + (this.#sessions?.answered ?? 0);
  }

  async close(
    { idleGrace, stopped, closeSockets }: Closing,
  ): Promise<void> {
    await emptyAcceptQueue(
      () => this.#accepted,
      () => new Promise((resolve) => setImmediate(resolve)),
    );
    const closed = this.#stopListening();
    stopped();
    const socketsClosed = closeSockets();
    this.#closing = true;
    const began = this.#clock.tick();
    for (const connection of this.#all) retire(connection);
    this.#sessions?.close(idleGrace);

    const sweep = () => {
      const now = Date.now();
      for (const connection of this.#all) {
        if (!isIdle(connection)) continue;
        const grace = hasHalfHead(connection)
          ? HALF_HEAD_GRACE
          : connection.requestAt === 0
          ? UNUSED_GRACE
          : this.#clock.isRecent(connection.idleSince, idleGrace, began)
          ? idleGrace
          : 0;
        // A timer comes before what has arrived meanwhile is read.
        if (now - began >= grace) setImmediate(endIdle, connection);
      }
      if (now - began < HALF_HEAD_GRACE) return;
      for (const socket of this.#handshaking.values()) socket.destroy();
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
    void this.#stopListening();
    this.#sessions?.cut();
    for (const { socket } of this.#all) socket.destroy();
    for (const socket of this.#handshaking.values()) socket.destroy();
    for (const socket of this.#upgraded.keys()) socket.destroy();
    this.#timers.forEach(clearTimeout);
    return Promise.resolve();
  }

  /**
   * With net's own `close`, which only closes the listener and waits: http's
   * sweeps "idle" connections by its wrong measure and checks timeouts no more,
   * and that of http2 on Node 24 ends every session in the same instant.
   */
  #stopListening(): Promise<void> {
    return new Promise((resolve) =>
      NetServer.prototype.close.call(this.server, () => resolve())
    );
  }

  #handshake(socket: Socket): void {
    this.#accepted++;
    const peer = peerOf(socket);
    this.#handshaking.set(peer, socket);
    socket.on("close", () => this.#handshaking.delete(peer));
  }

  /**
   * Gives a clock to each socket whose client takes its time. For all of them
   * there is `server.timeout`, which costs every request 1.5 %.
   */
  #watchReaders(): void {
    for (const { socket } of this.#all) {
      if (socket.writableLength > 0 && !socket.timeout) {
        socket.setTimeout(this.#limits.writeTimeout);
      }
    }
    this.#sessions?.check();
  }

  /**
   * Nothing moved on this socket for a while. That is an idle connection's end,
   * and a client's that takes no more of its response; a slow handler and a
   * quiet stream are the app's own affair.
   */
  #timeout(socket: Socket): void {
    // HTTP/2 tells of its sessions here; they have a clock of their own.
    const connection = (socket as Partial<Tracked>)[kConnection];
    if (!connection) return;
    const stalled = socket.writableLength > 0;
    if (stalled || isIdle(connection)) socket.destroy();
    else socket.setTimeout(0);
  }

  #accept(socket: Socket): void {
    const connection: Connection = {
      socket,
      response: undefined,
      earlier: [],
      requestAt: 0,
      idleSince: 0,
    };
    (socket as Tracked)[kConnection] = connection;
    this.#all.add(connection);
    socket.on("close", this.#gone);
  }

  #out(response: ServerResponse): void {
    const connection = (response.req.socket as Tracked)[kConnection];
    connection.idleSince = this.#clock.now;
    if (connection.response === response) connection.response = undefined;
    else remove(connection.earlier, response);
    if (this.#counting) this.#answered++;
    if (!response.req.complete) this.#outlive(connection, response.req);
    // Node still has to look at the socket before it may go.
    if (this.#closing && isIdle(connection)) {
      queueMicrotask(() => end(connection));
    }
  }

  /**
   * A socket closed while its client still sends answers the client with a reset,
   * and the reset eats the response: @hono/node-server's 2 MB became 0 bytes, for
   * it closes 500 ms after an answer. So from now on closing sends our end first,
   * and what still comes is read and thrown away: while serving for as long as a
   * request may take (Node looks after that), while draining for `LINGER`.
   */
  #outlive({ socket }: Connection, request: IncomingMessage): void {
    discardRest(request);
    let lingering: NodeJS.Timeout | undefined;
    socket.destroySoon = () => {
      if (request.complete || socket.destroyed) {
        Socket.prototype.destroySoon.call(socket);
        return;
      }
      if (!socket.writableEnded) {
        socket.end();
        request.on("end", () => socket.destroy());
      }
      if (!this.#closing || lingering) return;
      lingering = setTimeout(() => socket.destroy(), LINGER);
      socket.on("close", () => clearTimeout(lingering));
    };
  }
}

/**
 * Where somebody listens for upgrades, Node hands over the connection for any.
 * Java's client and `curl --http2` ask for h2c with their first request: they got
 * no answer, and held the shutdown. Who asks for anything but a WebSocket is
 * served as if it had not asked.
 */
class Request extends IncomingMessage {
  // Not a private field: the constructor of the base class sets `upgrade`.
  declare [kUpgrade]: true | undefined;

  get upgrade(): boolean {
    return this[kUpgrade] === true && this.httpVersionMajor === 1 &&
      this.headers.upgrade?.toLowerCase() === "websocket";
  }
  set upgrade(upgrade: boolean) {
    if (upgrade) this[kUpgrade] = true;
  }
}

function isHttp2(request: unknown): request is Http2ServerRequest {
  return request instanceof Http2ServerRequest;
}

function refuseVersion(response: ServerResponse): void {
  response.writeHead(505, { connection: "close" }).end();
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
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

function hasHalfHead({ socket, requestAt }: Connection): boolean {
  return requestAt === 0 && socket.bytesRead > 0;
}

function endIdle(connection: Connection): void {
  if (isIdle(connection)) end(connection);
}

function end({ socket }: Connection): void {
  socket.destroySoon();
}

/**
 * The rest of a request that stands in the way of the connection's next. A body
 * that is being read directly (as `text()` and `json()` do) flows by itself; one
 * that was begun as a stream pauses where its reader has left it. Then the rest
 * is thrown away as it comes, and the reader told, should there be one: what it
 * has got is not the whole.
 */
function discardRest(request: IncomingMessage): void {
  const discard = () => {
    if (request.listenerCount("error") > 0) {
      request.emit(
        "error",
        new Error("The response went out before the body."),
      );
    }
    request.removeAllListeners("data");
    request.resume();
  };
  if (request.readableFlowing === false) discard();
  else request.once("pause", discard);
}

function uncork(socket: Socket): void {
  socket.uncork();
}

function remove<T>(items: T[], item: T): void {
  const at = items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
}
