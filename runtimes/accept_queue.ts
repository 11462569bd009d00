import { QUEUE_PATIENCE } from "./times.ts";

/** No server takes this for a request: the runtime answers it, not the app. */
export const NO_REQUEST = "?\r\n\r\n";

/** As many as the kernel queues for Node and Bun. */
const BACKLOG = 512;

/**
 * Connections that the kernel has accepted and the runtime has not are reset
 * when the listener closes (of one connection per request at 1,500 a second, 74
 * in 27,073). So wait until a turn brought none. A turn is one of the event loop,
 * where the runtime tells of each connection. Where it tells only of requests, a
 * turn is a connection of our own: the queue is first in, first out, and when
 * ours has been answered all before it have been taken. Who came before the first
 * turn has been taken when a whole queue has.
 */
export async function emptyAcceptQueue(
  arrived: () => number,
  turn: () => Promise<unknown>,
): Promise<void> {
  const until = performance.now() + QUEUE_PATIENCE;
  const most = arrived() + BACKLOG;
  for (let quiet = 0; quiet < 3 && performance.now() < until;) {
    const before = arrived();
    if (before > most) return;
    await turn();
    quiet = arrived() === before ? quiet + 1 : 0;
  }
}

/** Where to find a server that listens there. */
export function reachable(hostname: string): string {
  if (hostname === "0.0.0.0") return "127.0.0.1";
  return hostname === "::" ? "::1" : hostname;
}
