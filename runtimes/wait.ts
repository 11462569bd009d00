/** The ways to wait; with a limit that may move: lastcall/deadline.ts. */

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** For one turn of the event loop, on Node and Bun. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
