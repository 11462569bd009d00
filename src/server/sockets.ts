import type { Socket } from "../../runtimes/runtime.ts";
import type { Clock } from "./clock.ts";

/** RFC 6455: the endpoint is going away. */
const GOING_AWAY = 1001;
const REASON = "server is shutting down";
const BATCH_PAUSE = 100;

/** The open WebSockets of one server, and how they are closed. */
export class Sockets {
  readonly #open = new Set<Socket>();
  readonly #clock: Clock;
  readonly #batch: number;
  #closing = false;
  #onEmpty = () => {};

  /** Closes `batch` at a time, so that not all return in one instant. */
  constructor(clock: Clock, batch: number) {
    this.#clock = clock;
    this.#batch = batch;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Told of every socket that opens; the result, when it has closed. */
  opened(socket: Socket): () => void {
    this.#open.add(socket);
    if (this.#closing) socket.close(GOING_AWAY, REASON);
    return () => {
      this.#open.delete(socket);
      if (this.#open.size === 0) this.#onEmpty();
    };
  }

  /** Resolves when the last one has closed. */
  async close(): Promise<void> {
    const waiting = [...this.#open];
    const empty = new Promise<void>((resolve) => this.#onEmpty = resolve);
    this.#closing = true;
    while (waiting.length > 0) {
      for (const socket of waiting.splice(0, this.#batch)) {
        if (this.#open.has(socket)) socket.close(GOING_AWAY, REASON);
      }
      if (waiting.length === 0) break;
      await new Promise<void>((resolve) =>
        this.#clock.after(BATCH_PAUSE, resolve)
      );
    }
    if (this.#open.size > 0) await empty;
  }

  cut(): void {
    for (const socket of this.#open) socket.cut();
  }
}
