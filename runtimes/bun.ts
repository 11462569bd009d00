import { BunListener } from "./bun_listener.ts";
import {
  eventLoopDelayBeyond,
  exitAfter,
  outputTo,
  written,
} from "./node_process.ts";
import {
  type Host,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
} from "./runtime.ts";
import { readTls } from "./tls.ts";
import { removeStaleSocket } from "./unix_socket.ts";

export { getConnInfo } from "hono/bun";
export { upgradeWebSocket } from "./bun_websocket.ts";
export { isWebSocket } from "./websocket.ts";
export {
  args,
  env,
  hasColors,
  isTerminal,
  onSignal,
  onUncaught,
  setExitCode,
} from "./node_process.ts";

export const name = "bun";
export const version = Bun.version;
export const oldest = "1.4.4";

export async function listen(
  host: Host,
  options: ListenOptions,
): Promise<Listener> {
  const { unix } = options;
  if (unix !== undefined) await removeStaleSocket(unix);
  const tls = options.tls && await readTls(options.tls);
  try {
    return new BunListener(host, { ...options, tls });
  } catch (error) {
    throw new ListenError(failureOf(error), error);
  }
}

/** Bun counts none. */
export function expectManyListeners(): void {}

function failureOf(error: unknown): ListenFailure {
  switch ((error as { code?: string }).code) {
    case "EADDRINUSE":
      return "in use";
    case "EADDRNOTAVAIL":
      return "not ours";
    case "EACCES":
      return "denied";
    default:
      return "other";
  }
}

// The stream of a terminal that was stopped by Ctrl-S blocks.
export const stdout = outputTo(1, () => written(1));
export const stderr = outputTo(2, () => written(2));

// Only end() waits here: write("", done) is done at once.
export const exit = (code: number) =>
  exitAfter([stdout, stderr], (stream, done) => stream.end(done), code);

export const eventLoopDelay = () => eventLoopDelayBeyond(0);
