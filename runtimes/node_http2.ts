import type {
  Http2SecureServer,
  Http2ServerRequest,
  ServerHttp2Session,
} from "node:http2";
import type { InFlight, Limits } from "./runtime.ts";

/** How long a client may keep a session after it was told of its end. */
const LEAVE_GRACE = 1000;

interface Session {
  http2: ServerHttp2Session;
  streams: number;
  lastUsed: number;
}

/**
 * The HTTP/2 side of a server. Node 20 and 22 send no GOAWAY when a server
 * closes, and wait for ever; so each session is closed by hand.
 */
export class Sessions {
  readonly #all = new Map<unknown, Session>();
  readonly #inFlight = new Set<InFlight>();
  #closing = false;
  #counting = false;
  answered = 0;

  constructor(server: Http2SecureServer, { idleTimeout }: Limits) {
    server.on("session", (http2: ServerHttp2Session) => {
      const session = { http2, streams: 0, lastUsed: Date.now() };
      this.#all.set(http2, session);
      http2.on("close", () => this.#all.delete(http2));
      http2.setTimeout(idleTimeout);
      http2.on("timeout", () => {
        if (session.streams === 0) http2.close();
      });
      if (this.#closing) retire(session, 0);
    });
  }

  request({ method, url, stream }: Http2ServerRequest): void {
    const session = this.#all.get(stream.session);
    if (!session) return;
    const request: InFlight = { method, url, since: Date.now() };
    this.#inFlight.add(request);
    session.streams++;
    stream.once("close", () => {
      this.#inFlight.delete(request);
      session.streams--;
      session.lastUsed = Date.now();
      if (this.#counting && !stream.aborted) this.answered++;
      if (session.http2.closed) seeOut(session);
    });
  }

  inFlight(): InFlight[] {
    return [...this.#inFlight];
  }

  countAnswers(): void {
    this.#counting = true;
  }

  /** A session used within the last `idleGrace` may bring one more request. */
  close(idleGrace: number): void {
    this.#closing = true;
    const since = Date.now() - idleGrace;
    for (const session of this.#all.values()) {
      const recent = session.streams > 0 || session.lastUsed > since;
      retire(session, recent ? idleGrace : 0);
    }
  }

  cut(): void {
    for (const { http2 } of this.#all.values()) http2.destroy();
  }
}

/**
 * No early GOAWAY that leaves the last stream open: Node ends a session that has
 * sent any GOAWAY as soon as no stream is open. The one that names the last
 * stream lets a client send again what came after it.
 */
function retire(session: Session, grace: number): void {
  const { http2 } = session;
  const end = () => {
    if (http2.closed || http2.destroyed) return;
    http2.goaway();
    http2.close();
    seeOut(session);
  };
  if (grace === 0) end();
  else setTimeout(end, grace);
}

/** A graceful close also waits for the client to close, who may be deaf. */
function seeOut({ http2, streams }: Session): void {
  if (streams > 0) return;
  const timer = setTimeout(() => http2.destroy(), LEAVE_GRACE);
  http2.once("close", () => clearTimeout(timer));
}
