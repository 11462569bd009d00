/**
 * Deno and Bun cannot close their listener alone: their stop closes idle
 * connections too. What it may close must have heard `Connection: close` first,
 * for this long at least.
 */
const LAST_MOMENTS = 100;

/**
 * The time in which connections retire themselves. A response that was on its
 * way before (`unaware`) could not say `close`: a client that got the end of it
 * just now may bring one more request, and gets the same grace once more.
 */
export async function lastMoments<Exchange>(
  idleGrace: number,
  recentTraffic: boolean,
  unaware: Exchange[],
  isOpen: (exchange: Exchange) => boolean,
): Promise<void> {
  const grace = Math.max(idleGrace, LAST_MOMENTS);
  if (recentTraffic) await delay(grace);
  for (let left = true; left;) {
    const still = unaware.filter(isOpen);
    left = still.length < unaware.length;
    unaware = still;
    if (left) await delay(grace);
  }
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

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
