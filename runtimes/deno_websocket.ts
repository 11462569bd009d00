import type { Context } from "hono";
import { WSContext, type WSEvents, type WSReadyState } from "hono/ws";
import type { Host, Limits, Socket } from "./runtime.ts";
import {
  defineUpgrade,
  firstProtocol,
  Guarded,
  MESSAGE_COST,
} from "./websocket.ts";

/** RFC 6455: the message, or what waits, is too big. */
const TOO_BIG = 1009;

const kListener = Symbol("listener");
const kUpgrade = Symbol("upgrade");

interface WebSocketListener {
  host: Host;
  limits: Limits;
}

/** What Deno hands over beside a request, and the app hands on to Hono. */
interface Info {
  [kListener]?: WebSocketListener;
  /** The answer to an upgrade that has been made. */
  [kUpgrade]?: Response;
}

/** An upgrade of this request will belong to `listener`. */
export function belongsTo(listener: WebSocketListener, info: object): void {
  (info as Info)[kListener] = listener;
}

/**
 * The response of a request that was upgraded is its 101. Deno ends the whole
 * server where it is given another: a middleware that lost its patience, a
 * handler that threw after the upgrade.
 */
export function withUpgrade(info: object, response: Response): Response {
  const upgrade = (info as Info)[kUpgrade];
  return upgrade && response.status !== 101 ? upgrade : response;
}

export function hasUpgrade(info: object): boolean {
  return (info as Info)[kUpgrade] !== undefined;
}

/**
 * Not Hono's own for Deno: of a socket that is opened there nobody hears but the
 * app, unless Deno's global is replaced.
 */
export const upgradeWebSocket = defineUpgrade<WebSocket>((c, events) => {
  const info: Info | undefined = c.env;
  const listener = info?.[kListener];
  if (!listener) {
    throw new TypeError(
      "The second argument that `fetch` is called with has to reach Hono.",
    );
  }
  if (!isHandshake(c)) return;
  const { raw } = c.req;
  const protocol = firstProtocol(c);
  // With the upgrade Deno forgets what a request said; handlers may ask yet.
  Object.defineProperty(raw, "headers", { value: new Headers(raw.headers) });
  const { response, socket } = Deno.upgradeWebSocket(
    raw,
    protocol ? { protocol } : {},
  );
  info[kUpgrade] = response;
  new Peer(socket, protocol, events, listener);
  return response;
});

/** Deno looks at neither, and takes any. */
function isHandshake(c: Context): boolean {
  return c.req.header("sec-websocket-version") === "13" &&
    /^[+/0-9a-z]{22}==$/i.test(c.req.header("sec-websocket-key") ?? "");
}

/** The socket's listener, what Hono's context stands on, and ours: one object. */
class Peer implements Socket {
  readonly raw: WebSocket;
  readonly protocol: string;
  readonly #context: WSContext<WebSocket>;
  readonly #handlers: Guarded<WebSocket>;
  readonly #listener: WebSocketListener;
  #closed = () => {};
  /** Sent since nothing waited. */
  #messages = 0;
  #lastIsEmpty = false;

  constructor(
    raw: WebSocket,
    protocol: string,
    events: WSEvents<WebSocket>,
    listener: WebSocketListener,
  ) {
    this.raw = raw;
    this.protocol = protocol;
    this.#context = new WSContext<WebSocket>(this);
    this.#handlers = new Guarded(events, listener.host);
    this.#listener = listener;
    for (const type of ["open", "message", "close", "error"]) {
      raw.addEventListener(type, this);
    }
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case "open":
        this.#handlers.onOpen(event, this.#context);
        // Last, for it may close it on the spot.
        this.#closed = this.#listener.host.opened(this);
        break;
      case "message":
        this.#receive(event as MessageEvent);
        break;
      case "close":
        this.#handlers.onClose(event as CloseEvent, this.#context);
        this.#closed();
        break;
      case "error":
        this.#handlers.onError(event, this.#context);
    }
  }

  /** Deno itself takes 64 MiB a frame, and any number of fragments. */
  #receive(event: MessageEvent): void {
    if (exceeds(this.#listener.limits.messageSize, event.data)) {
      this.close(TOO_BIG, "message too big");
    } else this.#handlers.onMessage(event, this.#context);
  }

  get readyState(): WSReadyState {
    return this.raw.readyState as WSReadyState;
  }

  /**
   * Deno counts the bytes that wait and holds some 700 more for each message: of
   * 8 million empty ones that nobody read it took 5.6 GB. So the messages are
   * counted here. That the last one is out shows in the bytes, unless it is empty.
   */
  send(data: string | ArrayBuffer | Uint8Array<ArrayBuffer>): void {
    const bytes = this.raw.bufferedAmount;
    if (bytes === 0 && !this.#lastIsEmpty) this.#messages = 0;
    const waiting = bytes + this.#messages * MESSAGE_COST;
    if (waiting > this.#listener.limits.sendBuffer) {
      return this.close(TOO_BIG, "too much waits to be sent");
    }
    this.#messages++;
    this.#lastIsEmpty = isEmpty(data);
    this.raw.send(data);
  }

  close(code?: number, reason?: string): void {
    this.raw.close(code, reason);
  }

  /** Deno has no way to end it; the end of the process does. */
  cut(): void {}
}

/** A text has as many bytes as characters, or up to three times as many. */
function exceeds(limit: number, data: string | ArrayBuffer | Blob): boolean {
  if (data instanceof Blob) return data.size > limit;
  if (typeof data !== "string") return data.byteLength > limit;
  return data.length > limit ||
    data.length * 3 > limit && new TextEncoder().encode(data).length > limit;
}

function isEmpty(data: string | ArrayBuffer | Uint8Array): boolean {
  return (typeof data === "string" ? data.length : data.byteLength) === 0;
}
