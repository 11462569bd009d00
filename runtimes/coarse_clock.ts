import { TICK } from "./times.ts";

/**
 * Asking the time costs 1 % of a trivial request; an age needs no more than
 * this. `now` is behind by a tick at most, or, where the loop was held up, by as
 * long as the longest tick took. Not Date.now(): somebody may set that clock.
 */
export class CoarseClock {
  now: number;
  #longest = TICK;
  readonly #read: () => number;

  constructor(read = () => performance.now()) {
    this.#read = read;
    this.now = read();
  }

  tick(): number {
    const now = this.#read();
    this.#longest = Math.max(this.#longest, now - this.now);
    return this.now = now;
  }

  /** Whether `since`, a time of this clock, may be less than `ms` before `at`. */
  isRecent(since: number, ms: number, at = this.tick()): boolean {
    return at - since < ms + this.#longest;
  }
}
