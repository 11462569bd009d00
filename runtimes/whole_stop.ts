import { emptyAcceptQueue } from "./accept_queue.ts";
import { LAST_MOMENTS } from "./times.ts";
import { delay } from "./wait.ts";

/** A listener whose runtime closes idle connections and sockets when it stops. */
export interface WholeStop<Exchange> {
  idleGrace: number;
  /** Whether a connection may have been used within `idleGrace`. */
  hadTraffic: boolean;
  /** Whose response was on its way before, and could not say `close`. */
  unaware: Exchange[];
  isOpen(exchange: Exchange): boolean;
  closeSockets(): Promise<void>;
  /** How many requests have come since every response says `close`. */
  received(): number;
  /** See `emptyAcceptQueue`. */
  knock(): Promise<unknown>;
}

/**
 * What has to happen before such a stop, once every response says `close`:
 * connections have time to retire, WebSockets are closed in batches, and what the
 * kernel has accepted is taken.
 */
export async function beforeWholeStop<Exchange>(
  { idleGrace, hadTraffic, unaware, isOpen, closeSockets, received, knock }:
    WholeStop<Exchange>,
): Promise<void> {
  const grace = Math.max(idleGrace, LAST_MOMENTS);
  if (hadTraffic || unaware.length > 0) await delay(grace);
  // A client that got the end of such a response just now may bring one more
  // request, and gets the same grace once more.
  for (let left = true; left;) {
    const still = unaware.filter(isOpen);
    left = still.length < unaware.length;
    unaware = still;
    if (left) await delay(grace);
  }
  await closeSockets();
  await emptyAcceptQueue(received, knock);
}

export function sayClose(response: Response): Response {
  // A WebSocket's: its Connection header says Upgrade, and must.
  if (response.status === 101) return response;
  try {
    response.headers.set("Connection", "close");
    return response;
  } catch {
    // Headers that came from fetch() cannot be changed.
    const headers = new Headers(response.headers);
    headers.set("Connection", "close");
    const { status, statusText, body } = response;
    return new Response(body, { status, statusText, headers });
  }
}

export function mayHaveBody({ method }: Request): boolean {
  return method !== "GET" && method !== "HEAD";
}
