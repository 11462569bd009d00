/**
 * One connection of a client that means no good: it writes bytes, notes what
 * comes back, and never throws, because the server may end it at any time.
 */
import { Buffer } from "node:buffer";
import type * as net from "node:net";
import { dial } from "../support/dial.ts";

/** So much of what came back is kept, for statuses and frames. */
const KEPT = 65_536;

export class Attacker {
  /** Bytes that came back. */
  received = 0;
  isOver = false;
  readonly over: Promise<void>;
  readonly #socket: net.Socket;
  #kept: Buffer[] = [];
  #keptLength = 0;
  readonly #watchers = new Set<() => void>();

  /** Undefined where nobody accepts the connection. */
  static async dial(
    url: string,
    protocol?: string,
  ): Promise<Attacker | undefined> {
    try {
      return new Attacker(await dial(url, protocol));
    } catch {
      return undefined;
    }
  }

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("data", (data: Uint8Array) => {
      this.received += data.length;
      if (this.#keptLength < KEPT) {
        this.#kept.push(Buffer.from(data));
        this.#keptLength += data.length;
      }
      this.#changed();
    });
    this.over = new Promise((resolve) =>
      socket.on("close", () => {
        this.isOver = true;
        resolve();
        this.#changed();
      })
    );
  }

  /** The beginning of what came back. */
  get answer(): Buffer {
    return Buffer.concat(this.#kept);
  }

  /** The statuses of the HTTP/1.1 responses among it. */
  get statuses(): number[] {
    return [
      ...this.answer.toString("latin1").matchAll(/HTTP\/1\.[01] (\d{3})/g),
    ]
      .map(([, status]) => Number(status));
  }

  /** Resolves when the kernel has the bytes, or never will. */
  write(bytes: string | Uint8Array): Promise<void> {
    if (this.isOver || this.#socket.destroyed) return Promise.resolve();
    const data = typeof bytes === "string"
      ? Buffer.from(bytes, "latin1")
      : bytes;
    return new Promise((resolve) => {
      void this.over.then(resolve);
      this.#socket.write(data, () => resolve());
    });
  }

  /** Resolves when `check` holds, when all is over, or after `patience`. */
  until(check: () => boolean, patience = 5_000): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      const look = () => {
        if (check() || this.isOver) done();
      };
      const timer = setTimeout(done, patience);
      this.#watchers.add(look);
      look();
    });
  }

  /** Resolves when anything has come back; see `until`. */
  answered(patience?: number): Promise<void> {
    return this.until(() => this.received > 0, patience);
  }

  /** Neither reads nor sees the end of the connection any more. */
  goDeaf(): void {
    this.#socket.pause();
  }

  halfClose(): void {
    this.#socket.end();
  }

  leave(): void {
    this.#socket.destroy();
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }
}
