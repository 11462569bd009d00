import { validateHeaderName, validateHeaderValue } from "node:http";
import {
  constants,
  type Http2SecureServer,
  Http2ServerRequest,
  Http2ServerResponse,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { TLSSocket } from "node:tls";
import { handleLater, hasHadItsTurn, type Share } from "./node_connection.ts";
import type { Host, InFlight, Limits } from "./runtime.ts";
import { GOODBYE } from "./times.ts";

/** Node allows 2 ** 32 - 1. Browsers and balancers expect at least 100. */
const STREAMS = 128;
/** The answers to a client's pings are no response that it takes. */
const LEAST_TAKEN = 1024;

const kSession = Symbol("session");
const kRequest = Symbol("request");

interface Session extends Share {
  http2: ServerHttp2Session;
  socket: TLSSocket;
  requests: Set<Request>;
  openedAt: number;
  /** When its last request was over; 0 before the first. */
  lastUsed: number;
  /** How much the client had taken when it was last seen to take something. */
  taken: number;
  /** When that was; 0 while nothing waits for it. */
  waitingSince: number;
  leaving: NodeJS.Timeout | undefined;
}

interface Request extends InFlight {
  session: Session;
  incoming: Http2ServerRequest;
  response: Http2ServerResponse;
}

type TrackedSession = ServerHttp2Session & { [kSession]?: Session };
type TrackedStream = ServerHttp2Stream & { [kRequest]: Request };

/** What the server is created with. */
export const http2Options = ({ headSize }: Limits, host: Host) => ({
  Http2ServerResponse: responseFor(host),
  settings: { maxConcurrentStreams: STREAMS, maxHeaderListSize: headSize },
});

/**
 * The HTTP/2 side of a server. Node has no limits for it but the idle timeout
 * of a session, which any PING begins anew, and loses track of sessions: one
 * whose client sends GOAWAY and stays, or leaves right after its preface, keeps
 * its descriptor. So each session is known here by its socket, and ends with it.
 */
export class Sessions {
  readonly #all = new Set<Session>();
  readonly #limits: Limits;
  /** One for all: a closure for each costs more than the rest of this. */
  readonly #over: (this: ServerHttp2Stream) => void;
  #closing = false;
  #counting = false;
  answered = 0;

  constructor(server: Http2SecureServer, limits: Limits) {
    this.#limits = limits;
    // deno-lint-ignore no-this-alias
    const sessions = this;
    this.#over = function () {
      const request = (this as TrackedStream)[kRequest];
      const { session } = request;
      session.requests.delete(request);
      session.lastUsed = performance.now();
      if (sessions.#counting && !this.aborted && this.rstCode === 0) {
        sessions.answered++;
      }
      if (isOver(session.http2)) sessions.#seeOut(session);
    };
    // Node makes the session in its own listener for the socket, so this one
    // has to come before it.
    let socket: TLSSocket;
    server.prependListener("secureConnection", (one: TLSSocket) => {
      socket = one;
    });
    server.on("session", (http2) => this.#accept(http2, socket));
  }

  #accept(http2: ServerHttp2Session, socket: TLSSocket): void {
    const session: Session = {
      http2,
      socket,
      inTurn: 0,
      later: undefined,
      requests: new Set(),
      openedAt: performance.now(),
      lastUsed: 0,
      taken: 0,
      waitingSince: 0,
      leaving: undefined,
    };
    (http2 as TrackedSession)[kSession] = session;
    this.#all.add(session);
    socket.on("close", () => {
      this.#all.delete(session);
      clearTimeout(session.leaving);
    });
    if (this.#closing) this.#end(session);
  }

  /** Has it handled, unless it is refused, or reset before it had its turn. */
  request(
    incoming: Http2ServerRequest,
    response: Http2ServerResponse,
    handle: () => void,
  ): void {
    const stream = incoming.stream as TrackedStream;
    const session = (stream.session as TrackedSession | undefined)?.[kSession];
    if (session) {
      const { method, url } = incoming;
      const since = performance.now();
      const request = { method, url, since, session, incoming, response };
      session.requests.add(request);
      stream[kRequest] = request;
      stream.once("close", this.#over);
    }
    if (!stream.endAfterHeaders) incoming.once("aborted", tearOff);
    // The app sees the authority as its URL and this as a header: a check of
    // one is no check of the other.
    const { host } = incoming.headers;
    if (host !== undefined && host !== incoming.authority) {
      response.writeHead(400).end();
    } else if (!session || !hasHadItsTurn(session)) handle();
    else handleLater(session, () => stream.closed || handle());
  }

  inFlight(): InFlight[] {
    return [...this.#all].flatMap(({ requests }) => [...requests]);
  }

  countAnswers(): void {
    this.#counting = true;
  }

  /** To be called once a second: who has had its time? */
  check(): void {
    const now = performance.now();
    const { headTimeout, requestTimeout, idleTimeout, writeTimeout } =
      this.#limits;
    for (const session of this.#all) {
      const { http2, socket, requests, openedAt, lastUsed } = session;
      // Until then the limits of `http2Options` are not in force.
      if (http2.pendingSettingsAck && now - openedAt >= headTimeout) {
        const error = new Error("The settings were not acknowledged.");
        http2.destroy(error, constants.NGHTTP2_SETTINGS_TIMEOUT);
      }
      if (requests.size === 0) {
        session.waitingSince = 0;
        const isIdle = lastUsed
          ? now - lastUsed >= idleTimeout
          : now - openedAt >= headTimeout;
        if (isIdle || isOver(http2)) this.#end(session);
        continue;
      }
      for (const request of requests) {
        const { since, incoming: { stream } } = request;
        if (now - since >= requestTimeout && !hasAll(stream)) {
          giveUp(request);
          this.#end(session);
        }
      }
      const taken = socket.bytesWritten - unsent(socket);
      if (![...requests].some(isWaiting)) session.waitingSince = 0;
      // Not turned around: where the measure fails, nobody is cut.
      else if (
        session.waitingSince && taken - session.taken < LEAST_TAKEN
      ) {
        if (now - session.waitingSince >= writeTimeout) socket.destroy();
      } else {
        session.waitingSince = now;
        session.taken = taken;
      }
    }
  }

  /** A session used within the last `idleGrace` may bring one more request. */
  close(idleGrace: number): void {
    this.#closing = true;
    const since = performance.now() - idleGrace;
    for (const session of this.#all) {
      const { requests, lastUsed } = session;
      const isRecent = requests.size > 0 || lastUsed > since;
      if (isRecent) setTimeout(() => this.#end(session), idleGrace);
      else this.#end(session);
    }
  }

  /** `http2.destroy()` would wait for what a client has not taken. */
  cut(): void {
    for (const { socket } of this.#all) socket.destroy();
  }

  /**
   * No early GOAWAY that leaves the last stream open: Node ends a session that
   * has sent any GOAWAY as soon as no stream is open. The one that names the
   * last stream lets a client send again what came after it.
   */
  #end(session: Session): void {
    if (!isOver(session.http2)) session.http2.close();
    this.#seeOut(session);
  }

  /**
   * After the last stream Node waits for the client to close, who may be gone
   * or deaf. One that still takes what it was sent, or says that it does, is
   * waited for: a closed socket answers it with a reset, and that eats the rest.
   */
  #seeOut(session: Session, since = performance.now()): void {
    const { socket, requests } = session;
    if (session.leaving || socket.destroyed || requests.size > 0) return;
    const { bytesRead } = socket;
    session.leaving = setTimeout(() => {
      session.leaving = undefined;
      const isGone = unsent(socket) === 0 && socket.bytesRead === bytesRead;
      if (isGone || performance.now() - since >= this.#limits.writeTimeout) {
        socket.destroy();
      } else this.#seeOut(session, since);
    }, GOODBYE);
  }
}

function isOver({ closed, destroyed }: ServerHttp2Session): boolean {
  return closed || destroyed;
}

/**
 * The client has sent all of its request, read or not. `readableEnded` tells of
 * what was read, and `state.remoteClose` is true of a stream that was reset.
 */
function hasAll(stream: ServerHttp2Stream): boolean {
  const { _readableState: state } = stream as ServerHttp2Stream & {
    _readableState?: { ended?: boolean };
  };
  return state?.ended === true;
}

/** Something of its response has not been taken yet. */
function isWaiting({ incoming: { stream }, response }: Request): boolean {
  return stream.bufferSize > 0 || response.writableEnded && hasAll(stream);
}

/**
 * How many bytes wait for the client, in this process. A session writes as much
 * at once as the client's window allows, 30 MB or more, and Node counts that as
 * written; what is left of it only the handle knows.
 */
function unsent(socket: TLSSocket): number {
  const { _parent: parent } = socket as TLSSocket & {
    _parent?: { _handle?: { writeQueueSize?: number } | null };
  };
  return parent?._handle?.writeQueueSize ?? NaN;
}

/** The request has taken too long. */
function giveUp({ incoming, response }: Request): void {
  const { stream } = incoming;
  tearOff.call(incoming);
  if (response.headersSent) stream.close(constants.NGHTTP2_CANCEL);
  else {
    response.statusCode = 408;
    response.end(); // in one frame, for the reset would overtake another
    stream.close(constants.NGHTTP2_NO_ERROR);
  }
}

/** Node ends a body that was cut short as if that were all of it. */
function tearOff(this: Http2ServerRequest): void {
  if (hasAll(this.stream)) return;
  this.on("error", () => {}); // there may be no reader
  this.destroy(Object.assign(new Error("aborted"), { code: "ECONNRESET" }));
}

/** What belongs to one connection of HTTP/1.1; Node throws for most of it. */
const hopByHop = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** Its types do not know of it. */
const { setTrailer } = Http2ServerResponse.prototype as unknown as {
  setTrailer(this: Http2ServerResponse, name: string, value: string): void;
};

/**
 * @hono/node-server lets what `writeHead` throws become an unhandled rejection,
 * which ends the process. Here it costs the response.
 */
function responseFor(host: Host) {
  return class extends Http2ServerResponse {
    override writeHead(status: number, ...rest: unknown[]): this {
      const { stream, headersSent, writableEnded } = this;
      // Node 20 and 22 throw for a stream that the client has closed, and all of
      // them for a request that was given up.
      if (stream.closed || stream.destroyed || headersSent && writableEnded) {
        return this;
      }
      try {
        const headers = rest.at(-1) as OutgoingHttpHeaders | undefined;
        return super.writeHead(status, headers && endToEnd(headers));
      } catch (error) {
        host.failed("response", error);
        if (headersSent) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
        else {
          this.getHeaderNames().forEach((name) => this.removeHeader(name));
          super.writeHead(500).end();
        }
        return this;
      }
    }

    override setHeader(name: string, value: string | readonly string[]): void {
      validateHeaderValue(name, value as string);
      if (!hopByHop.has(name.toLowerCase())) super.setHeader(name, value);
    }

    /** Node looks at the names when it sends them, where nobody catches. */
    setTrailer(name: string, value: string): void {
      validateHeaderName(name);
      validateHeaderValue(name, value);
      if (!hopByHop.has(name.toLowerCase())) setTrailer.call(this, name, value);
    }
  };
}

/**
 * Node looks at no value, and separates them with NUL on their way down: a value
 * with one in it would bring headers of its own.
 */
function endToEnd(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  let rest = headers;
  for (const name in headers) {
    validateHeaderValue(name, headers[name] as string);
    if (!hopByHop.has(name.toLowerCase())) continue;
    if (rest === headers) rest = { ...headers };
    delete rest[name];
  }
  return rest;
}
