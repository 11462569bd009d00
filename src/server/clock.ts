/** Time as a parameter, so that tests of deadlines wait for nothing. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  now(): number;
  /** Runs `then` after `ms`; the returned function takes that back. */
  after(ms: number, then: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};
