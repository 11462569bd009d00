import type { Clock } from "./clock.ts";

/** A moment until which something is waited for; it may be moved meanwhile. */
export class Deadline {
  readonly #clock: Clock;
  #at: number;
  #hasStruck = false;
  /** Of the one wait that goes on. */
  #wait: (() => void) | undefined;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#at = clock.now() + ms;
  }

  /** From now on it is `ms` away. */
  move(ms: number): void {
    this.#at = this.#clock.now() + ms;
    this.#wait?.();
  }

  /** Nothing is waited for any more. */
  strike(): void {
    this.#hasStruck = true;
    this.#wait?.();
  }

  /** Whether `promise` settled before. */
  waitFor(promise: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      let cancel = () => {};
      const end = (inTime: boolean) => {
        cancel();
        if (this.#wait === wait) this.#wait = undefined;
        resolve(inTime);
      };
      const wait = () => {
        cancel();
        if (this.#hasStruck) return end(false);
        const left = Math.max(0, this.#at - this.#clock.now());
        cancel = this.#clock.after(left, () => end(false));
      };
      this.#wait = wait;
      wait();
      const settled = () => end(true);
      promise.then(settled, settled);
    });
  }
}
