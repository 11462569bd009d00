import type { Runtime } from "../runtimes/runtime.ts";
import { SAME_SIGNAL } from "../runtimes/times.ts";
import { toError } from "./errors.ts";
import type { ShutdownController } from "./shutdown.ts";
import { StartError } from "./start_error.ts";

/** Ctrl-C, a service manager, a closed terminal, Ctrl-Break on Windows. */
const DEFAULT_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"];

/**
 * Those that a process may be told to end by. No process hears SIGKILL and
 * SIGSTOP, and the others mean something else.
 */
const KNOWN_SIGNALS = new Set([
  ...DEFAULT_SIGNALS,
  "SIGALRM",
  "SIGPWR",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGXCPU",
]);

const watched = new WeakSet<ShutdownController>();

/**
 * From here on this process's signals and uncaught errors begin the shutdown.
 * The first caller decides which signals; `run` comes first where it is used,
 * so that a Ctrl-C counts while a database is still connecting.
 */
export function watchProcess(
  runtime: Runtime,
  shutdown: ShutdownController,
  // A platform that lacks one of them is no error.
  signals: string[] = DEFAULT_SIGNALS,
): void {
  if (watched.has(shutdown)) return;
  refuseOldRuntime(runtime);
  refuseUnknown(signals);
  runtime.expectManyListeners(shutdown.signal);
  // One that heeds no signal is begun by another, which watches already.
  if (signals.length === 0) return;
  watched.add(shutdown);

  const { clock } = shutdown;
  let firstAt: number | undefined;
  const onSignal = (signal: string) => {
    const now = clock.now();
    firstAt ??= now;
    if (!shutdown.signal.aborted) shutdown.begin(signal);
    else if (now - firstAt >= SAME_SIGNAL) shutdown.force(signal);
  };
  const stopSignals = signals.map((signal) =>
    runtime.onSignal(signal, () => onSignal(signal))
  );
  const stopUncaught = runtime.onUncaught((cause) => {
    logError(shutdown, "uncaught error", cause);
    shutdown.fail(cause, "an uncaught error");
  });
  shutdown.finished.then(({ exitCode }) => {
    stopUncaught();
    if (exitCode !== 0) runtime.setExitCode(exitCode);
    // A quiet server has closed before the second half of a Ctrl-C comes, which
    // would kill it on its way out (Node: 5 of 6 times at 5 ms).
    clock.later(
      SAME_SIGNAL,
      () => stopSignals.forEach((stop) => stop()),
    );
  });
}

/** A StartError says in its one sentence all that there is to say: no stack. */
export function logError(
  { log }: ShutdownController,
  message: string,
  cause: unknown,
): void {
  const { message: error, stack } = toError(cause);
  const where = cause instanceof StartError ? {} : { stack };
  log({ level: "error", message, error, ...where });
}

function refuseUnknown(signals: string[]): void {
  const unknown = signals.filter((signal) => !KNOWN_SIGNALS.has(signal));
  if (unknown.length === 0) return;
  throw new StartError(
    `signals has ${
      unknown.map((signal) => JSON.stringify(signal)).join(", ")
    }` +
      `; expected any of ${[...KNOWN_SIGNALS].join(", ")}.`,
  );
}

function refuseOldRuntime({ name, version, oldest }: Runtime): void {
  const [have, need] = [version, oldest].map((v) => v.split(".").map(Number));
  for (const [i, part] of need!.entries()) {
    const difference = (have![i] ?? 0) - part;
    if (difference > 0) return;
    if (difference < 0) {
      throw new StartError(
        `This is ${name} ${version}; lastcall needs ${name} ${oldest} or later.`,
      );
    }
  }
}
