/** A process as Node has it, and Bun after it: environment, signals, end. */

import { fstatSync, write } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isatty } from "node:tty";
import { BoundedOutput, type Sink } from "./output.ts";
import { FLUSH, LOOK } from "./times.ts";

// Importing node:process evaluates all it has, opens stdin among it, and takes
// a thirtieth of a start.
const process: NodeJS.Process = globalThis.process;

// Not process.stdout.isTTY: to look there opens the stream, a millisecond.
export const isTerminal = isatty(1);
export const hasColors = isTerminal && !process.env["NO_COLOR"] &&
  process.env["TERM"] !== "dumb";

export function args(): string[] {
  return process.argv.slice(2);
}

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

/**
 * The stream of this descriptor. A reader that has gone away is no reason to
 * end; and told as an error, it would be one more line that nobody reads, and
 * so on for ever.
 */
export function streamOf(fd: 1 | 2): NodeJS.WriteStream {
  const stream = fd === 1 ? process.stdout : process.stderr;
  return stream.off("error", ignore).on("error", ignore);
}

/**
 * A pipe is written to as a stream, which waits in the event loop: a thread that
 * waits for a reader would hold process.exit() on Node, and on both it is one of
 * a few. A file is written to in such a thread, for the stream blocks, takes a
 * line that was written by half for whole, and gives up at its first error.
 */
export function outputTo(fd: 1 | 2, terminal: () => Sink): BoundedOutput {
  let sink: Sink | undefined;
  // Not before the first write: a stream that nobody needs takes a millisecond.
  return new BoundedOutput(async (bytes) => await (sink ??= open())(bytes));

  function open(): Sink {
    if (isatty(fd)) return terminal();
    const stat = fstatSync(fd);
    return stat.isFIFO() || stat.isSocket() ? streamed(fd) : written(fd);
  }
}

export function streamed(fd: 1 | 2): Sink {
  const stream = streamOf(fd);
  return (bytes) =>
    new Promise((resolve, reject) =>
      stream.write(
        bytes,
        (error) => error ? reject(error) : resolve(bytes.length),
      )
    );
}

export function written(fd: 1 | 2): Sink {
  return (bytes) =>
    new Promise((resolve, reject) =>
      write(
        fd,
        bytes,
        (error, count) => error ? reject(error) : resolve(count),
      )
    );
}

export function onUncaught(listener: (error: unknown) => void): () => void {
  process.on("uncaughtException", listener);
  process.on("unhandledRejection", listener);
  // An app may write to them as well.
  streamOf(1);
  streamOf(2);
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
 * arrived. An app may have written to the streams what ours did not see.
 */
export async function exitAfter(
  outputs: BoundedOutput[],
  flush: (stream: NodeJS.WriteStream, done: () => void) => void,
  code: number,
): Promise<never> {
  const flushed = Promise.all(outputs.map(({ flushed }) => flushed)).then(() =>
    Promise.all(
      [streamOf(1), streamOf(2)].map((stream) =>
        new Promise<void>((resolve) => flush(stream, resolve))
      ),
    )
  );
  const patience = new Promise((resolve) => setTimeout(resolve, FLUSH));
  await Promise.race([flushed, patience]);
  process.exit(code);
}
