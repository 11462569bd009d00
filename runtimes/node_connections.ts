import * as http from "node:http";
import type { RequestListener, Server } from "node:http";
import {
  createSecureServer,
  type Http2SecureServer,
  Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { Server as NetServer, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { emptyAcceptQueue } from "./accept_queue.ts";
import { CoarseClock } from "./coarse_clock.ts";
import { http2Options, Sessions } from "./node_http2.ts";
import {
  asksForWebSocket,
  discardRest,
  IncomingMessage,
  keepHead,
  kHead,
  kUpgrade,
  type Request,
} from "./node_request.ts";
import type { Host, InFlight, Limits, Tls } from "./runtime.ts";
import {
  CHECKING,
  HALF_HEAD_GRACE,
  LINGER,
  TICK,
  UNUSED_GRACE,
} from "./times.ts";
import { turn } from "./wait.ts";

/** How many pipelined requests may wait before no more are read. */
const PIPELINED = 256;

/** How many pipelined requests of a connection are handled in one turn. */
const PER_TURN = 16;

const kConnection = Symbol("connection");

type Handler = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
) => Promise<void> | void;

interface Connection {
  socket: Socket;
  /** What is not yet out: the latest response, and pipelined ones before it. */
  response: http.ServerResponse | undefined;
  earlier: http.ServerResponse[];
  /** Its requests since the last turn of the event loop, or a few more. */
  inTurn: number;
  /** Pipelined requests that are handled in a later turn; undefined for none. */
  later: (() => void)[] | undefined;
  /** Said that the connection is kept, before the drain began. */
  promised: http.ServerResponse | undefined;
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
  readonly #host: Host;
  readonly #sessions: Sessions | undefined;
  /** Sockets whose TLS handshake is not over, by their peer. */
  readonly #handshaking = new Map<string, Socket>();
  readonly #limits: Limits;
  readonly #all = new Set<Connection>();
  /** WebSockets: they say themselves when they are done. */
  readonly #upgraded = new Set<Socket>();
  /** The latest one that Node has handed over. */
  #handedOver: Socket | undefined;
  /** One for all: a closure for each was a tenth of an idle connection. */
  readonly #gone: (this: Socket) => void;
  #accepted = 0;
  #counting = false;
  #closing = false;
  #idleGrace = 0;
  /** The last Host found good: nearly all requests bring the same one. */
  #validHost = "localhost";
  readonly #clock = new CoarseClock();
  readonly #timers: NodeJS.Timeout[] = [];
  #answered = 0;

  constructor(limits: Limits, tls: Tls | undefined, host: Host) {
    this.#host = host;
    this.#limits = limits;
    // deno-lint-ignore no-this-alias
    const connections = this;
    this.#gone = function () {
      connections.#all.delete((this as Tracked)[kConnection]);
    };
    // Node calls this when a response is out, flushed and all; so no response
    // needs a listener of its own.
    function detachSocket(this: http.ServerResponse, socket: Socket): void {
      http.ServerResponse.prototype.detachSocket.call(this, socket);
      connections.#out(this);
    }
    // Named by its key: a bundler may call a class otherwise, the app sees it, and
    // to define a name anew costs 15 % of a trivial request.
    const { ServerResponse } = {
      ServerResponse: class extends http.ServerResponse<Request> {
        // There is a second argument, which the types do not know.
        constructor(...args: [Request]) {
          super(...args);
          // Not a method: Express gives the responses it gets another prototype.
          this.detachSocket = detachSocket;
        }
        // @hono/node-server sends a stream's head by itself, before what the
        // stream has at hand. Together they are one system call, not two: a
        // seventh more streams.
        override flushHeaders(): void {
          const { socket } = this;
          socket?.cork();
          super.flushHeaders();
          if (socket) setImmediate(uncork, socket);
        }
      },
    };
    const server = tls
      ? createSecureServer({
        ...tls,
        allowHTTP1: true,
        handshakeTimeout: limits.headTimeout,
        Http1IncomingMessage: IncomingMessage,
        Http1ServerResponse: ServerResponse,
        ...http2Options(limits, host),
      }) as unknown as Server
      : http.createServer({ IncomingMessage, ServerResponse });
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
    server.on("upgrade", (_, socket: Socket) => this.#handedOver = socket);
  }

  /**
   * In front of the handler, and in one listener with it. `upgrading` gets the
   * requests that ask for a WebSocket.
   */
  track(handle: Handler, upgrading: Handler): RequestListener {
    const answer: Handler = (request, response) => {
      const { httpVersionMajor } = request;
      if (httpVersionMajor > 1 && isHttp2(request)) {
        const http2 = response as unknown as Http2ServerResponse;
        if (!this.#sessions!.request(request, http2)) return;
        return handle(request, response);
      }
      const connection = (request.socket as Tracked)[kConnection];
      connection.requestAt = this.#clock.now;
      if (connection.response) this.#wait(connection, connection.response);
      connection.response = response;
      if (this.#closing) retire(connection);
      // Node's parser lets HTTP/0.9 and HTTP/2.0 pass in a line of text.
      if (httpVersionMajor !== 1) return refuse(response, 505);
      if (!this.#isValid(request)) return refuse(response, 400);
      if ((request as Request)[kUpgrade] !== undefined) {
        if (request.method === "CONNECT") return refuse(response, 400);
        if (asksForWebSocket(request)) {
          // Node drops whatever comes in one packet with it.
          if (!connection.earlier.length) keepHead(request as Request);
          sayClose(response);
          return upgrading(request, response);
        }
      }
      // The answers tell nothing: behind each body Node lets them go out.
      if (++connection.inTurn === PER_TURN) setImmediate(turned, connection);
      if (connection.later || connection.inTurn > PER_TURN) {
        return this.#handleLater(
          connection,
          () => this.#run(handle, request, response),
        );
      }
      return handle(request, response);
    };
    return (request, response) => this.#run(answer, request, response);
  }

  /** What throws here costs one connection, not the process. */
  #run(
    handle: Handler,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): void {
    try {
      // It rejects where a head cannot be written, and the app did not wait.
      handle(request, response)
        ?.catch((error) => this.#fail(request, response, error));
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  /**
   * Node hands over at once all that one packet brings, 1,800 requests and more:
   * a client that pipelines without end would keep all others waiting.
   */
  #handleLater(connection: Connection, handle: () => void): void {
    if (connection.later) {
      connection.later.push(handle);
      return;
    }
    const later = connection.later = [handle];
    const turn = () => {
      if (connection.socket.destroyed) return;
      for (const handle of later.splice(0, PER_TURN)) handle();
      if (later.length > 0) setImmediate(turn);
      else connection.later = undefined;
    };
    setImmediate(turn);
  }

  #fail(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    error: unknown,
  ): void {
    this.#host.failed("response", error);
    const isOpen = request.httpVersionMajor === 1 && !response.headersSent;
    if (isOpen) refuse(response, 500);
    else request.socket.destroy();
  }

  /**
   * Takes a connection out of the hands of HTTP, for a WebSocket, with what the
   * client has sent already. Undefined if that is not possible any more. Never to
   * be called while Node parses, which would abort the process: not in a
   * microtask of a request.
   */
  upgrade(
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): { socket: Socket; head: Buffer } | undefined {
    const { socket } = request;
    const connection = (socket as Tracked)[kConnection];
    const isNext = connection.response === response &&
      connection.earlier.length === 0;
    if (!isNext || !request.complete || socket.destroyed) return;
    this.#all.delete(connection);
    if (this.#counting) this.#answered++;
    this.#upgraded.add(socket);
    socket.on("close", () => this.#upgraded.delete(socket));
    // Node looks for an upgrade each time when it has parsed something, and
    // then does all that has to be done.
    (request as Request)[kUpgrade] = "granted";
    try {
      http.ServerResponse.prototype.detachSocket.call(response, socket);
      socket.emit("data", Buffer.alloc(0));
    } catch (error) {
      this.#host.failed("WebSocket handler", error);
    }
    const isOurs = this.#handedOver === socket;
    this.#handedOver = undefined;
    const head = (request as Request)[kHead] ?? Buffer.alloc(0);
    if (isOurs) return { socket, head };
    socket.destroy();
  }

  inFlight(): InFlight[] {
    const http1 = [...this.#all].flatMap(({ response, earlier, requestAt }) =>
      [...earlier, ...response ? [response] : []].map(({ req }) => ({
        method: req.method ?? "",
        url: req.url ?? "",
        since: requestAt,
      }))
    );
    return [...http1, ...this.#sessions?.inFlight() ?? []];
  }

  countAnswers(): void {
    this.#counting = true;
    this.#sessions?.countAnswers();
  }

  get answered(): number {
    return this.#answered + (this.#sessions?.answered ?? 0);
  }

  async close(idleGrace: number): Promise<void> {
    await emptyAcceptQueue(
      () => this.#accepted,
      turn,
    );
    const closed = this.#stopListening();
    this.#host.stopped();
    const socketsClosed = this.#host.closeSockets();
    this.#closing = true;
    this.#idleGrace = idleGrace;
    const began = this.#clock.tick();
    for (const connection of this.#all) retire(connection);
    this.#sessions?.close(idleGrace);

    const sweep = () => {
      const now = performance.now();
      for (const connection of this.#all) {
        // Where a promise was made, its grace began later.
        if (!isIdle(connection) || connection.promised) continue;
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
    await this.#host.closeSockets(); // those that opened meanwhile
    this.#timers.forEach(clearTimeout);
  }

  cut(): Promise<void> {
    void this.#stopListening();
    this.#sessions?.cut();
    for (const { socket } of this.#all) socket.destroy();
    for (const socket of this.#handshaking.values()) socket.destroy();
    for (const socket of this.#upgraded) socket.destroy();
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
    // HTTP/2 has none: node_http2.ts looks after its sessions.
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
      inTurn: 0,
      later: undefined,
      promised: undefined,
      requestAt: 0,
      idleSince: 0,
    };
    (socket as Tracked)[kConnection] = connection;
    this.#all.add(connection);
    socket.on("close", this.#gone);
  }

  /**
   * Node stops to read where too many bytes wait in responses, but 50,000
   * requests on one connection, none answered yet, took 0.6 GB. So each response
   * that waits counts as some bytes.
   */
  #wait({ earlier }: Connection, response: http.ServerResponse): void {
    earlier.push(response);
    countPending(response, 1);
  }

  /** Whether Host says one thing, and one that a URL can have. */
  #isValid({ rawHeaders }: http.IncomingMessage): boolean {
    let host: string | undefined;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i]!;
      if (name.length !== 4) continue;
      if (name !== "Host" && name.toLowerCase() !== "host") continue;
      if (host !== undefined) return false;
      host = rawHeaders[i + 1];
    }
    // Without one it is HTTP/1.0; Node sees to that.
    if (host === undefined || host === this.#validHost) return true;
    if (!URL.canParse(`http://${host}`)) return false;
    this.#validHost = host;
    return true;
  }

  #out(response: http.ServerResponse): void {
    const connection = (response.req.socket as Tracked)[kConnection];
    connection.idleSince = this.#clock.now;
    if (connection.response === response) connection.response = undefined;
    else {
      remove(connection.earlier, response);
      countPending(response, -1);
    }
    if (this.#counting) this.#answered++;
    if (!response.req.complete) this.#outlive(connection, response.req);
    if (!this.#closing || !isIdle(connection)) return;
    if (connection.promised === response) {
      // The next request may be on the wire.
      const over = () => setImmediate(endIdle, connection);
      this.#timers.push(setTimeout(over, this.#idleGrace));
    } // Node still has to look at the socket before it may go.
    else queueMicrotask(() => end(connection));
  }

  /**
   * A socket closed while its client still sends answers the client with a reset,
   * and the reset eats the response: @hono/node-server's 2 MB became 0 bytes, for
   * it closes 500 ms after an answer. So from now on closing sends our end first,
   * and what still comes is read and thrown away: while serving for as long as a
   * request may take (Node looks after that), while draining for `LINGER`.
   */
  #outlive({ socket }: Connection, request: http.IncomingMessage): void {
    discardRest(request);
    let lingering: NodeJS.Timeout | undefined;
    // When the request has taken too long, Node would answer it again.
    socket.write = () => false;
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
    // A client that goes on for longer is to make a new connection.
    const patience = setTimeout(() => socket.destroySoon(), LINGER);
    const over = () => {
      clearTimeout(patience);
      const shadowed: Partial<Socket> = socket;
      delete shadowed.write;
      delete shadowed.destroySoon;
      socket.off("close", over);
    };
    request.on("end", over);
    socket.on("close", over);
  }
}

function isHttp2(request: unknown): request is Http2ServerRequest {
  return request instanceof Http2ServerRequest;
}

function refuse(response: http.ServerResponse, status: number): void {
  const headers = { "Connection": "close", "Content-Length": 0 };
  response.writeHead(status, headers).end();
}

/** Node's own count of what waits in responses, and its way to stop reading. */
function countPending(response: http.ServerResponse, sign: 1 | -1): void {
  const { _onPendingData, req: { socket } } = response as
    & http.ServerResponse
    & { _onPendingData?(bytes: number): void };
  _onPendingData?.(sign * Math.ceil(socket.writableHighWaterMark / PIPELINED));
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function isIdle({ response, earlier }: Connection): boolean {
  return response === undefined && earlier.length === 0;
}

/** The last response of a connection says that it is the last, if it can. */
function retire(connection: Connection): void {
  const { response, earlier } = connection;
  earlier.forEach(sayNothing);
  connection.promised = response?.headersSent ? response : undefined;
  if (response) sayClose(response);
}

/**
 * By shadowing writeHead, for a header set by the app beats `shouldKeepAlive`:
 * Hono's streamSSE sets `Connection: keep-alive` on each of its responses.
 */
function sayClose(response: http.ServerResponse): void {
  if (response.headersSent || Object.hasOwn(response, "writeHead")) return;
  response.writeHead = function (status: number, ...rest: unknown[]) {
    sayNothing(response);
    const headers = { ...rest.find(isRecord) };
    for (const key of Object.keys(headers)) {
      if (key.toLowerCase() === "connection") delete headers[key];
    }
    return response.writeHead(status, { ...headers, connection: "close" });
  } as http.ServerResponse["writeHead"];
}

/** A request came in behind this one: it is not the last any more. */
function sayNothing(response: http.ServerResponse): void {
  delete (response as Partial<http.ServerResponse>).writeHead;
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

function turned(connection: Connection): void {
  connection.inTurn = 0;
}

function uncork(socket: Socket): void {
  socket.uncork();
}

function remove<T>(items: T[], item: T): void {
  const at = items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
}
