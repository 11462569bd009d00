/** Where Bun tells of the requests that are open; it promises neither. */
export interface Teller {
  readonly pendingRequests: number;
  /** An address while the request is open, and null from then on. */
  requestIP(request: Request): unknown;
}

export interface Insight {
  /** Whether Bun knows how many are open. */
  counts: boolean;
  /** Whether it knows which. */
  names: boolean;
}

/** Asked about a request that is open for sure: a handler is about to get it. */
export function insightInto(teller: Teller, request: Request): Insight {
  try {
    const counts = teller.pendingRequests >= 1;
    // On a Unix socket there is no address to tell.
    return { counts, names: counts && Boolean(teller.requestIP(request)) };
  } catch {
    return { counts: false, names: false };
  }
}

/** Whether so many can be open at once: Bun counts all of them. */
export function canBeOpen(teller: Teller, many: number): boolean {
  return many <= teller.pendingRequests;
}
