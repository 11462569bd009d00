/** A process as Node has it, and Bun after it: environment, signals, end. */

import { monitorEventLoopDelay } from "node:perf_hooks";
import { isatty } from "node:tty";

// Importing node:process evaluates all it has, opens stdin among it, and takes
// a thirtieth of a start.
const process: NodeJS.Process = globalThis.process;

/** How long a reader of our output may take to make room for the rest. */
const FLUSH = 2000;

// Not process.stdout.isTTY: to look there opens the stream, a millisecond.
export const isTerminal = isatty(1);
export const hasColors = isTerminal && !process.env["NO_COLOR"] &&
  process.env["TERM"] !== "dumb";

export function args(): string[] {
  return process.argv.slice(2);
}

/** How often the event loop is looked at, in milliseconds. */
export const LOOK = 10;
let delays: ReturnType<typeof monitorEventLoopDelay> | undefined;

/** Watches from the first question on: what nobody asks for costs nothing. */
export function eventLoopDelayBeyond(expected: number): number | undefined {
  if (!delays) {
    delays = monitorEventLoopDelay({ resolution: LOOK });
    delays.enable();
  }
  const { mean } = delays;
  delays.reset();
  return Number.isNaN(mean) ? undefined : Math.max(0, mean / 1e6 - expected);
}

export function env(name: string): string | undefined {
  return process.env[name];
}

export function onSignal(signal: string, listener: () => void): () => void {
  try {
    process.on(signal, listener);
  } catch {
    // Windows lacks most signals.
  }
  return () => process.off(signal, listener);
}

const ignore = () => {};

export function onUncaught(listener: (error: unknown) => void): () => void {
  process.on("uncaughtException", listener);
  process.on("unhandledRejection", listener);
  // A reader of our output that has gone away is no reason to end; and told as
  // an error, it would be one more line that nobody reads, and so on for ever.
  for (const stream of [process.stdout, process.stderr]) {
    stream.off("error", ignore).on("error", ignore);
  }
  return () => {
    process.off("uncaughtException", listener);
    process.off("unhandledRejection", listener);
  };
}

export function setExitCode(code: number): void {
  process.exitCode = code;
}

/**
 * process.exit() drops what a pipe has not taken yet: of 1 MB, 64 to 600 KB
 * arrived. A reader that never reads must not keep the process for ever.
 */
export async function exitAfter(
  flush: (stream: NodeJS.WriteStream, done: () => void) => void,
  code: number,
): Promise<never> {
  const flushed = [process.stdout, process.stderr].map((stream) =>
    new Promise<void>((resolve) => flush(stream, resolve))
  );
  const patience = new Promise((resolve) => setTimeout(resolve, FLUSH));
  await Promise.race([Promise.all(flushed), patience]);
  process.exit(code);
}
