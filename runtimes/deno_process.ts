// The process, as Deno has it.

import { BoundedOutput } from "./output.ts";
import { FLUSH } from "./times.ts";
import { delay } from "./wait.ts";

export const isTerminal = Deno.stdout.isTerminal();
export const hasColors = isTerminal && !Deno.noColor;

const NEWLINE = new TextEncoder().encode("\n");

// console.log waits for a reader, and throws where a disk is full.
export const stdout = outputTo(Deno.stdout);
export const stderr = outputTo(Deno.stderr);

function outputTo(stream: typeof Deno.stdout): BoundedOutput {
  // A write that fails does not tell how much of it was written before, so what
  // comes next begins on a line of its own.
  let failed = false;
  return new BoundedOutput(async (bytes) => {
    if (failed) await stream.write(NEWLINE);
    failed = true;
    const taken = await stream.write(bytes);
    failed = false;
    return taken;
  });
}

export function env(name: string): string | undefined {
  return Deno.env.get(name);
}

export function args(): string[] {
  return Deno.args;
}

/** Its node:perf_hooks answers, in numbers that fit no unit. */
export function eventLoopDelay(): undefined {}

export function onSignal(signal: string, listener: () => void): () => void {
  try {
    Deno.addSignalListener(signal as Deno.Signal, listener);
  } catch {
    // Windows knows SIGINT and SIGBREAK only.
    return () => {};
  }
  return () => Deno.removeSignalListener(signal as Deno.Signal, listener);
}

/** Deno counts none. */
export function expectManyListeners(): void {}

export function onUncaught(listener: (error: unknown) => void): () => void {
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    listener(event.error);
  };
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    listener(event.reason);
  };
  addEventListener("error", onError);
  addEventListener("unhandledrejection", onRejection);
  return () => {
    removeEventListener("error", onError);
    removeEventListener("unhandledrejection", onRejection);
  };
}

export function setExitCode(code: number): void {
  Deno.exitCode = code;
}

export async function exit(code: number): Promise<never> {
  await Promise.race([
    Promise.all([stdout.flushed, stderr.flushed]),
    delay(FLUSH),
  ]);
  Deno.exit(code);
}
