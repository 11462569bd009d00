import type { Clock } from "../clock.ts";

/** Time that moves only when a test says so. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ at: number; then: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): () => void {
    const timer = { at: this.#now + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  later(ms: number, then: () => void): void {
    this.after(ms, then);
  }

  /** How many timers are waiting. */
  get waiting(): number {
    return this.#timers.size;
  }

  /** Moves time on, and lets every promise that this settles run its course. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers]
        .filter(({ at }) => at <= end)
        .sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.then();
      await settle();
    }
    this.#now = end;
  }
}

/** Long enough for any chain of promises in the engine; no time passes. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await null;
}
