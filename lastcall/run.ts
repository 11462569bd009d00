import type { Runtime } from "../runtimes/runtime.ts";
import { logError, watchProcess } from "./process.ts";
import type { ShutdownReport } from "./report.ts";
import type { ShutdownController } from "./shutdown.ts";

export interface RunOptions {
  /** Default SIGINT, SIGTERM, SIGHUP (a closed terminal), SIGBREAK. */
  signals?: string[];
}

/**
 * Runs `start` under the controller: signals and uncaught errors count before
 * it, what it opened is closed when it fails, and a signal interrupts it.
 * Resolves with the report once everything is closed.
 */
export function run(
  runtime: Runtime,
  shutdown: ShutdownController,
  start: () => Promise<void>,
  { signals }: RunOptions = {},
): Promise<ShutdownReport> {
  const started = (async () => {
    watchProcess(runtime, shutdown, signals);
    await start();
  })();
  // Awaited like any other work, so that what a start still opens while the
  // shutdown goes on is closed as well.
  shutdown.waitUntil(
    started.catch((cause) => {
      // A start that was told to stop and rejects has done what it was told.
      if (shutdown.signal.aborted) return;
      logError(shutdown, "start-up failed", cause);
      shutdown.fail(cause, "start-up failed");
    }),
    "start-up",
  );
  return shutdown.finished;
}
