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
  letGo,
  newConnection,
  openRequests,
  outlive,
  refuse,
  retire,
  sayClose,
  type Tracked,
  wait,
} from "./node_connection.ts";
import { Handshakes } from "./node_handshakes.ts";
import { Sessions } from "./node_http2.ts";
import {
  asksForWebSocket,
  keepHead,
  refusals,
  type Request,
} from "./node_request.ts";
import { serverOf } from "./node_server.ts";
import { Upgraded } from "./node_upgraded.ts";
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
  readonly #run: ReturnType<typeof runFor>;
  readonly #sessions: Sessions | undefined;
  readonly #handshakes = new Handshakes();
  readonly #limits: Limits;
  readonly #all = new Set<Connection>();
  readonly #upgraded: Upgraded;
  /** One for all: a closure for each was a tenth of an idle connection. */
  readonly #gone: (this: Socket) => void;
  #accepted = 0;
  #counting = false;
  #closing = false;
  #idleGrace = 0;
  readonly #refusalOf = refusals();
  readonly #clock = new CoarseClock();
  readonly #timers: NodeJS.Timeout[] = [];
  #answered = 0;

  constructor(limits: Limits, tls: Tls | undefined, host: Host) {
    this.#host = host;
    this.#run = runFor(host);
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
      secure.on("connection", (socket: Socket) => {
        this.#accepted++;
        this.#handshakes.began(socket);
      });
      secure.on("secureConnection", (socket: TLSSocket) => {
        this.#handshakes.over(socket);
        if (socket.alpnProtocol !== "h2") this.#accept(socket);
      });
    } else {
      server.on("connection", (socket: Socket) => {
        this.#accepted++;
        this.#accept(socket);
      });
    }
    server.on("timeout", letGo);
    // Not before: one that cannot listen is never closed.
    server.on("listening", () => {
      this.#timers.push(
        setInterval(() => this.#clock.tick(), TICK).unref(),
        setInterval(() => this.#watchReaders(), CHECKING).unref(),
      );
    });
    this.#upgraded = new Upgraded(server, host);
  }

  /**
   * In front of the handler, and in one listener with it. `upgrading` gets the
   * requests that ask for a WebSocket.
   */
  track(handle: Handler, upgrading: Handler): http.RequestListener {
    const answer: Handler = (request, response) => {
      if (request.httpVersionMajor > 1 && isHttp2(request)) {
        const http2 = response as unknown as Http2ServerResponse;
        const run = () => this.#run(handle, request, response);
        return this.#sessions!.request(request, http2, run);
      }
      const connection = (request.socket as Tracked)[kConnection];
      connection.requestAt = this.#clock.now;
      if (connection.response) wait(connection, connection.response);
      connection.response = response;
      if (this.#closing) retire(connection);
      const status = this.#refusalOf(request as Request);
      if (status) return refuse(response, status);
      if (asksForWebSocket(request as Request)) {
        // Node drops whatever comes in one packet with it.
        if (!connection.earlier.length) keepHead(request as Request);
        sayClose(response);
        return upgrading(request, response);
      }
      if (!hasHadItsTurn(connection)) return handle(request, response);
      handleLater(connection, () => this.#run(handle, request, response));
    };
    return (request, response) => this.#run(answer, request, response);
  }

  /** Takes a connection out of the hands of HTTP: see `Upgraded.take`. */
  upgrade(
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): { socket: Socket; head: Buffer } | undefined {
    const connection = (request.socket as Tracked)[kConnection];
    const isNext = connection.response === response &&
      connection.earlier.length === 0;
    if (!isNext || !request.complete || request.socket.destroyed) return;
    this.#all.delete(connection);
    if (this.#counting) this.#answered++;
    return this.#upgraded.take(request as Request, response);
  }

  inFlight(): InFlight[] {
    const http1 = [...this.#all].flatMap(openRequests);
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
    const closed = stopListening(this.server);
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
      this.#handshakes.cut();
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
    void stopListening(this.server);
    this.#sessions?.cut();
    for (const { socket } of this.#all) socket.destroy();
    this.#handshakes.cut();
    this.#upgraded.cut();
    this.#timers.forEach(clearTimeout);
    return Promise.resolve();
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

/** What throws in a handler costs one connection, not the process. */
function runFor(host: Host) {
  const fail = (
    request: http.IncomingMessage,
    response: http.ServerResponse,
    error: unknown,
  ) => {
    host.failed("response", error);
    const isOpen = request.httpVersionMajor === 1 && !response.headersSent;
    if (isOpen) refuse(response, 500);
    else request.socket.destroy();
  };
  return (
    handle: Handler,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): void => {
    try {
      // It rejects where a head cannot be written, and the app did not wait.
      handle(request, response)
        ?.catch((error) => fail(request, response, error));
    } catch (error) {
      fail(request, response, error);
    }
  };
}

/**
 * With net's own `close`, which only closes the listener and waits: http's
 * sweeps "idle" connections by its wrong measure and checks timeouts no more,
 * and that of http2 on Node 24 ends every session in the same instant.
 */
function stopListening(server: http.Server): Promise<void> {
  return new Promise((resolve) =>
    NetServer.prototype.close.call(server, () => resolve())
  );
}
