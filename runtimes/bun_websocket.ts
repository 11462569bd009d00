import {
  createWSMessageEvent,
  WSContext,
  type WSEvents,
  type WSReadyState,
} from "hono/ws";
import type { Limits, Socket, SocketKeeper } from "./runtime.ts";
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
  return server.upgrade(c.req.raw, { data }) ? new Response(null) : undefined;
});

/** What Hono's context stands on, and our own: one object. */
export class UpgradedSocket implements Socket {
  raw!: BunSocket;
  #context!: WSContext<BunSocket>;
  #handlers!: Guarded<BunSocket>;
  #closed = () => {};
  #isOpen = true;
  /** To be done once nothing waits to be sent: the close that was asked for. */
  #close: (() => void) | undefined;

  constructor(
    readonly events: WSEvents<BunSocket>,
    readonly url: URL,
    readonly protocol: string,
  ) {}

  open(raw: BunSocket, sockets: SocketKeeper): void {
    this.raw = raw;
    this.#context = new WSContext(this);
    this.#handlers = new Guarded(this.events, sockets);
    this.#handlers.onOpen(new Event("open"), this.#context);
    // Last, for it may close it on the spot.
    this.#closed = sockets.opened(this);
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
    if (!this.#close) this.raw.send(data, compress);
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
  sockets: SocketKeeper,
  { messageSize, sendBuffer }: Limits,
): Bun.WebSocketHandler<UpgradedSocket> {
  return {
    open: (raw) => raw.data.open(raw, sockets),
    message: ({ data }, message) => data.message(message),
    drain: ({ data }) => data.drain(),
    close: ({ data }, code, reason) => data.closed(code, reason),
    maxPayloadLength: Math.min(messageSize, MOST),
    backpressureLimit: Math.min(sendBuffer, MOST),
    closeOnBackpressureLimit: true,
  };
}
