/** A process as Node has it, and Bun after it: environment, signals, end. */

import process from "node:process";

/** How long a reader of our output may take to make room for the rest. */
const FLUSH = 2000;

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

export function onUncaught(listener: (error: unknown) => void): () => void {
  process.on("uncaughtException", listener);
  process.on("unhandledRejection", listener);
  return () => {
    process.off("uncaughtException", listener);
    process.off("unhandledRejection", listener);
  };
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
