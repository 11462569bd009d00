import { pause } from "../kit/pause.ts";
import type { Log } from "#lastcall";
import { Outage } from "./outage.ts";
import { Unavailable } from "./store.ts";

/** How long to wait for another process's lock, in milliseconds. */
const PATIENCE = 2000;
const PAUSE = 20;

export const LOCKED = "another process has locked it";

/**
 * Waits where another process has locked the database. SQLite's `busy_timeout`
 * waits in our thread: 30 writes at 2 s each held all requests, and the shutdown,
 * for a minute.
 */
export class LockWait {
  #lastWrite: Promise<unknown> | undefined;
  readonly #outage: Outage;

  constructor(
    private readonly isLocked: (error: unknown) => boolean,
    log: Log,
  ) {
    this.#outage = new Outage(log);
  }

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
          throw new Unavailable(LOCKED);
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
      () => this.#outage.over(),
      (error) => {
        if (error instanceof Unavailable) this.#outage.seen(error.reason);
      },
    ).then(() => {
      if (this.#lastWrite === over) this.#lastWrite = undefined;
    });
    this.#lastWrite = over;
    return written;
  }
}
