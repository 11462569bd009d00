import {
  createWSMessageEvent,
  WSContext,
  type WSEvents,
  type WSReadyState,
} from "hono/ws";
import type { Host, Limits, Socket } from "./runtime.ts";
import { defineUpgrade, firstProtocol, Guarded } from "./websocket.ts";

type BunSocket = Bun.ServerWebSocket<UpgradedSocket>;

/** A number that Bun takes. */
const MOST = 4_294_967_295;

/**
 * Not Hono's own for Bun: that one makes a new context for each event, and what
 * a handler throws while the app has no `onError` ends the process.
 */
export const upgradeWebSocket = defineUpgrade<BunSocket>((c, events) => {
  const server: Bun.Server<UpgradedSocket> | undefined = c.env?.server ?? c.env;
  if (!server?.upgrade) {
    throw new TypeError(
      "The second argument that `fetch` is called with has to reach Hono.",
    );
  }
  const protocol = firstProtocol(c);
  const data = new UpgradedSocket(events, new URL(c.req.url), protocol);
  if (!server.upgrade(c.req.raw, { data })) return;
  return new Response(null);
});

/** What Hono's context stands on, and our own: one object. */
export class UpgradedSocket implements Socket {
  raw!: BunSocket;
  #context!: WSContext<BunSocket>;
  #handlers!: Guarded<BunSocket>;
  #sendBuffer = 0;
  #closed = () => {};
  #isOpen = true;
  /** To be done once nothing waits to be sent: the close that was asked for. */
  #close: (() => void) | undefined;

  constructor(
    readonly events: WSEvents<BunSocket>,
    readonly url: URL,
    readonly protocol: string,
  ) {}

  open(raw: BunSocket, host: Host, sendBuffer: number): void {
    this.raw = raw;
    this.#sendBuffer = sendBuffer;
    this.#context = new WSContext(this);
    this.#handlers = new Guarded(this.events, host);
    this.#handlers.onOpen(new Event("open"), this.#context);
    // Last, for it may close it on the spot.
    this.#closed = host.opened(this);
    if (!this.#isOpen) this.#closed();
  }

  message(message: string | Uint8Array): void {
    const data = typeof message === "string" ? message : message.buffer;
    const event = createWSMessageEvent(data as string | ArrayBuffer);
    this.#handlers.onMessage(event, this.#context);
  }

  drain(): void {
    if (this.raw.getBufferedAmount() === 0) this.#close?.();
  }

  closed(code: number, reason: string): void {
    this.#isOpen = false;
    const event = new CloseEvent("close", { code, reason });
    this.#handlers.onClose(event, this.#context);
    this.#closed();
  }

  get readyState(): WSReadyState {
    const { readyState } = this.raw;
    return this.#close && readyState === 1 ? 2 : readyState;
  }

  send(
    data: string | ArrayBuffer | Uint8Array<ArrayBuffer>,
    { compress }: { compress?: boolean } = {},
  ): void {
    if (this.#close) return;
    // 0 is also what an empty message returns.
    const isSent = this.raw.send(data, compress) !== 0;
    if (!isSent && this.raw.getBufferedAmount() > this.#sendBuffer) this.cut();
  }

  /** Bun drops what is still buffered (6.5 MB of it), so not before it is out. */
  close(code?: number, reason?: string): void {
    if (this.#close) return;
    this.#close = () => this.raw.close(code, reason);
    this.drain();
  }

  cut(): void {
    this.raw.terminate();
  }
}

/** What a listener's sockets have in common. */
export function websocketHandler(
  host: Host,
  limits: Limits,
): Bun.WebSocketHandler<UpgradedSocket> {
  const messageSize = Math.min(limits.messageSize, MOST);
  const sendBuffer = Math.min(limits.sendBuffer, MOST);
  return {
    open: (raw) => raw.data.open(raw, host, sendBuffer),
    message: ({ data }, message) => data.message(message),
    drain: ({ data }) => data.drain(),
    close: ({ data }, code, reason) => data.closed(code, reason),
    maxPayloadLength: messageSize,
    // Beyond it Bun drops a message, which `send` sees.
    backpressureLimit: sendBuffer,
  };
}
