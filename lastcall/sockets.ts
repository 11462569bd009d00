import type { Socket } from "../runtimes/runtime.ts";
import { BATCH_PAUSE } from "../runtimes/times.ts";
import type { Clock } from "./clock.ts";

/** RFC 6455: the endpoint is going away. */
const GOING_AWAY = 1001;
const REASON = "server is shutting down";

/** The open WebSockets of one server, or event streams, and how they are closed. */
export class Sockets {
  readonly #open = new Set<Socket>();
  readonly #clock: Clock;
  readonly #batch: number;
  /** From `close` on: those that were open then, and are still. */
  #leaving: Set<Socket> | undefined;
  #onLeft = () => {};

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
    if (this.#leaving) socket.close(GOING_AWAY, REASON);
    return () => {
      this.#open.delete(socket);
      this.#leaving?.delete(socket);
      if (this.#leaving?.size === 0) this.#onLeft();
    };
  }

  /**
   * Resolves when all that were open have closed. Those that still open are not
   * waited for: where the listener is closed only after this, a crowd of clients
   * that return on the spot would never let it be.
   */
  async close(): Promise<void> {
    const waiting = [...this.#open];
    const leaving = this.#leaving = new Set(waiting);
    const left = new Promise<void>((resolve) => this.#onLeft = resolve);
    while (waiting.length > 0) {
      for (const socket of waiting.splice(0, this.#batch)) {
        if (leaving.has(socket)) socket.close(GOING_AWAY, REASON);
      }
      if (waiting.length === 0) break;
      await new Promise<void>((resolve) =>
        this.#clock.after(BATCH_PAUSE, resolve)
      );
    }
    if (leaving.size > 0) await left;
  }

  cut(): void {
    for (const socket of this.#open) socket.cut();
  }
}
