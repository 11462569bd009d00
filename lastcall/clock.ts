import { LONGEST_WAIT } from "../runtimes/times.ts";

/** Time as a parameter, so that tests of deadlines wait for nothing. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  now(): number;
  /** Runs `then` after `ms`; the returned function takes that back. */
  after(ms: number, then: () => void): () => void;
  /** Runs `then` after `ms`, if the process is still there: it holds none. */
  later(ms: number, then: () => void): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, Math.min(ms, LONGEST_WAIT));
    return () => clearTimeout(timer);
  },
  later(ms, then) {
    // All three runtimes have it; the types of the web know of none.
    (setTimeout(then, ms) as unknown as { unref(): void }).unref();
  },
};

/** Where a clock throws, the system's takes its place; the first time is told. */
export function unfailing(clock: Clock, tell: (error: unknown) => void): Clock {
  let current = clock;
  const attempt = <Result>(use: (clock: Clock) => Result): Result => {
    try {
      return use(current);
    } catch (error) {
      if (current === systemClock) throw error;
      current = systemClock;
      tell(error);
      return use(current);
    }
  };
  return {
    now: () => attempt((clock) => clock.now()),
    after: (ms, then) => attempt((clock) => clock.after(ms, then)),
    later: (ms, then) => attempt((clock) => clock.later(ms, then)),
  };
}
