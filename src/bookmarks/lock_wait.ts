import { pause } from "../pause.ts";
import type { Log } from "../server/mod.ts";
import { Unavailable } from "./store.ts";

/** How long to wait for another process's lock, in milliseconds. */
const PATIENCE = 2000;
const PAUSE = 20;

/**
 * Waits where another process has locked the database. SQLite's `busy_timeout`
 * waits in our thread: 30 writes at 2 s each held all requests, and the shutdown,
 * for a minute.
 */
export class LockWait {
  #lastWrite: Promise<unknown> | undefined;
  #lockedOut = false;

  constructor(
    private readonly isLocked: (error: unknown) => boolean,
    private readonly log: Log,
  ) {}

  /** Does `act` as soon as no lock keeps it from that. */
  async read<Result>(
    act: () => Result,
    until = performance.now() + PATIENCE,
    signal?: AbortSignal,
  ): Promise<Result> {
    for (;;) {
      try {
        return act();
      } catch (error) {
        if (!this.isLocked(error)) throw error;
        if (signal?.aborted || performance.now() >= until) {
          throw new Unavailable();
        }
        await pause(PAUSE, signal);
      }
    }
  }

  /** So too, behind all writes before it; `signal` ends the waiting. */
  write<Result>(act: () => Result, signal?: AbortSignal): Promise<Result> {
    const until = performance.now() + PATIENCE;
    const attempt = () => this.read(act, until, signal);
    const written = this.#lastWrite
      // A turn for each: a thousand that waited must not go in one.
      ? this.#lastWrite.then(() => pause(0)).then(attempt)
      : attempt();
    const over = written.then(
      () => this.#tell(false),
      (error) => this.#tell(error instanceof Unavailable),
    ).then(() => {
      if (this.#lastWrite === over) this.#lastWrite = undefined;
    });
    this.#lastWrite = over;
    return written;
  }

  /** Once, and not for each request that is turned away. */
  #tell(lockedOut: boolean): void {
    if (lockedOut === this.#lockedOut) return;
    this.#lockedOut = lockedOut;
    this.log(
      lockedOut
        ? {
          level: "warn",
          message: "database locked",
          reason: "another process keeps it locked; writes are answered 503",
        }
        : { level: "info", message: "database unlocked" },
    );
  }
}
