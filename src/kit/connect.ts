import { pause } from "./pause.ts";
import { type Log, StartError } from "#lastcall";

const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 5000;
const LONGEST_ATTEMPT = 5000;
/** With less time than this it would fail for the want of it. */
const SHORTEST_ATTEMPT = 250;

export interface Connecting {
  /** What it is, "database" by default, and the variable that says where. */
  what?: string;
  variable: string;
  /** Where that is, for people: no credentials. */
  place: string;
  /** In milliseconds, for all attempts together. */
  timeout: number;
  /** Aborted when the server is told to stop: it need not wait for us. */
  signal: AbortSignal;
  log: Log;
}

/** A failed attempt: why, in words without credentials. */
export class NotConnected extends Error {
  constructor(
    reason: string,
    /** Whether trying again may help. */
    readonly mayPass: boolean,
  ) {
    super(reason);
  }
}

/**
 * Attempts until one succeeds, with pauses that double, each shortened at random
 * so that a hundred servers do not return to it in one instant. An
 * attempt is told through its signal when it has taken too long.
 */
export async function connect<T>(
  attempt: (signal: AbortSignal) => Promise<T>,
  connecting: Connecting,
): Promise<T> {
  const { what = "database", place, timeout, signal, log } = connecting;
  const deadline = performance.now() + timeout;
  for (let number = 1;; number++) {
    signal.throwIfAborted();
    const left = Math.max(0, deadline - performance.now());
    try {
      return await within(Math.min(left, LONGEST_ATTEMPT), signal, attempt);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof NotConnected)) throw error;
      const { message: reason, mayPass } = error;
      const longest = Math.min(FIRST_PAUSE * 2 ** (number - 1), LONGEST_PAUSE);
      const ms = Math.round(longest * (0.5 + Math.random() / 2));
      const next = performance.now() + ms;
      const goesOn = mayPass && next + SHORTEST_ATTEMPT <= deadline;
      log({
        level: "warn",
        message: `${what} not connected`,
        place,
        attempt: number,
        reason,
        ...(goesOn ? { retryInMs: ms } : {}),
      });
      if (!goesOn) throw gaveUp(connecting, reason, mayPass);
      await pause(ms, signal);
    }
  }
}

async function within<T>(
  ms: number,
  stopping: AbortSignal,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const late = () => over.abort(new NotConnected("no answer in time", true));
  const stop = () => over.abort(stopping.reason);
  const timer = setTimeout(late, ms);
  stopping.addEventListener("abort", stop);
  try {
    return await attempt(over.signal);
  } finally {
    clearTimeout(timer);
    stopping.removeEventListener("abort", stop);
  }
}

function gaveUp(
  { what = "database", variable, place, timeout }: Connecting,
  reason: string,
  mayPass: boolean,
): StartError {
  return new StartError(
    mayPass
      ? `The ${what} at ${place} could not be reached within ${timeout} ms ` +
        `(${reason}); start it, or mend ${variable}.`
      : `The ${what} at ${place} does not let us in (${reason}); ` +
        `mend ${variable}, or the rights of its user.`,
  );
}
