import * as http from "node:http";
import {
  type Http2SecureServer,
  Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { Server as NetServer, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { emptyAcceptQueue } from "./accept_queue.ts";
import { CoarseClock } from "./coarse_clock.ts";
import {
  answered,
  type Connection,
  end,
  endIdle,
  graceOf,
  handleLater,
  hasHadItsTurn,
  isIdle,
  kConnection,
  newConnection,
  outlive,
  refuse,
  retire,
  sayClose,
  type Tracked,
  wait,
} from "./node_connection.ts";
import { Sessions } from "./node_http2.ts";
import {
  asksForWebSocket,
  hostCheck,
  keepHead,
  kHead,
  kUpgrade,
  type Request,
} from "./node_request.ts";
import { serverOf } from "./node_server.ts";
import type { Host, InFlight, Limits, Tls } from "./runtime.ts";
import { CHECKING, HALF_HEAD_GRACE, TICK, UNUSED_GRACE } from "./times.ts";
import { turn } from "./wait.ts";

type Handler = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
) => Promise<void> | void;

/**
 * Node's own `close()` counts a connection as idle once its response was
 * `end()`ed, flushed or not (30 MB to a slow reader: cut at 4 MB), never sweeps
 * again, and knows nothing of half a request head. So the connections are known
 * here, and each is closed by its own state.
 */
export class Connections {
  readonly server: http.Server;
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
  readonly #hasGoodHost = hostCheck();
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
    const server = this.server = serverOf(
      limits,
      tls,
      host,
      (response) => this.#out(response),
    );
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
  track(handle: Handler, upgrading: Handler): http.RequestListener {
    const answer: Handler = (request, response) => {
      const { httpVersionMajor } = request;
      if (httpVersionMajor > 1 && isHttp2(request)) {
        const http2 = response as unknown as Http2ServerResponse;
        return this.#sessions!.request(
          request,
          http2,
          () => this.#run(handle, request, response),
        );
      }
      const connection = (request.socket as Tracked)[kConnection];
      connection.requestAt = this.#clock.now;
      if (connection.response) wait(connection, connection.response);
      connection.response = response;
      if (this.#closing) retire(connection);
      // Node's parser lets HTTP/0.9 and HTTP/2.0 pass in a line of text.
      if (httpVersionMajor !== 1) return refuse(response, 505);
      if (!this.#hasGoodHost(request)) return refuse(response, 400);
      if ((request as Request)[kUpgrade] !== undefined) {
        if (request.method === "CONNECT") return refuse(response, 400);
        if (asksForWebSocket(request)) {
          // Node drops whatever comes in one packet with it.
          if (!connection.earlier.length) keepHead(request as Request);
          sayClose(response);
          return upgrading(request, response);
        }
      }
      if (!hasHadItsTurn(connection)) return handle(request, response);
      handleLater(connection, () => this.#run(handle, request, response));
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
    await emptyAcceptQueue(() => this.#accepted, turn);
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
        const grace = graceOf(connection, this.#clock, idleGrace, began);
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
    this.#all.add(newConnection(socket));
    socket.on("close", this.#gone);
  }

  #out(response: http.ServerResponse): void {
    const connection = (response.req.socket as Tracked)[kConnection];
    connection.idleSince = this.#clock.now;
    answered(connection, response);
    if (this.#counting) this.#answered++;
    if (!response.req.complete) {
      outlive(connection, response.req, () => this.#closing);
    }
    if (!this.#closing || !isIdle(connection)) return;
    if (connection.promised === response) {
      // The next request may be on the wire.
      const over = () => setImmediate(endIdle, connection);
      this.#timers.push(setTimeout(over, this.#idleGrace));
    } // Node still has to look at the socket before it may go.
    else queueMicrotask(() => end(connection));
  }
}

function isHttp2(request: unknown): request is Http2ServerRequest {
  return request instanceof Http2ServerRequest;
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
