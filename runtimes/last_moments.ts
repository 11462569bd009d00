/**
 * Deno and Bun cannot close their listener alone: their stop closes idle
 * connections too. What it may close must have heard `Connection: close` first,
 * for this long at least.
 */
export const LAST_MOMENTS = 100;

/** Date.now() costs 1 % of a trivial request; an age needs no more than this. */
export const COARSE = 100;

export function sayClose(response: Response): Response {
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
