import { delay } from "./last_moments.ts";

/** No server takes this for a request: the runtime answers it, not the app. */
export const NO_REQUEST = "?\r\n\r\n";
/** Where the runtime is too busy to answer, waiting longer is of no use. */
const PATIENCE = 250;

/**
 * Connections that the kernel has accepted and the runtime has not are reset
 * when the listener closes (of one connection per request at 1,500 a second, 74
 * in 27,073). The queue is first in, first out: when a connection of our own
 * (`knock`) is answered, all before it have been taken.
 */
export async function emptyAcceptQueue(
  knock: () => Promise<unknown>,
): Promise<void> {
  await Promise.race([knock().catch(() => {}), delay(PATIENCE)]);
}

/** Where to find a server that listens there. */
export function reachable(hostname: string): string {
  if (hostname === "0.0.0.0") return "127.0.0.1";
  return hostname === "::" ? "::1" : hostname;
}
