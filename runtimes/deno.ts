import { openListener } from "./deno_listener.ts";
import {
  type Host,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
} from "./runtime.ts";
import { readTls } from "./tls.ts";
import { removeStaleSocket } from "./unix_socket.ts";

export { getConnInfo } from "hono/deno";
export {
  args,
  env,
  eventLoopDelay,
  exit,
  expectManyListeners,
  hasColors,
  isTerminal,
  onSignal,
  onUncaught,
  setExitCode,
  stderr,
  stdout,
} from "./deno_process.ts";
export { upgradeWebSocket } from "./deno_websocket.ts";
export { isWebSocket } from "./websocket.ts";

export const name = "deno";
export const version = Deno.version.deno;
/** Before: `Connection: close` to most uploads (denoland/deno#36657). */
export const oldest = "2.9.6";

export async function listen(
  host: Host,
  options: ListenOptions,
): Promise<Listener> {
  const { unix } = options;
  if (unix !== undefined) await removeStaleSocket(unix);
  const tls = options.tls && await readTls(options.tls);
  try {
    return openListener(host, { ...options, tls });
  } catch (error) {
    throw new ListenError(failureOf(error), error);
  }
}

function failureOf(error: unknown): ListenFailure {
  if (error instanceof Deno.errors.AddrInUse) return "in use";
  if (error instanceof Deno.errors.AddrNotAvailable) return "not ours";
  if (
    error instanceof Deno.errors.PermissionDenied ||
    error instanceof Deno.errors.NotCapable
  ) {
    return "denied";
  }
  return "other";
}
