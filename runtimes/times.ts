/**
 * Every time of the engine that nobody sets, in milliseconds: what needs it, and
 * why it is as long as it is. What an app sets has its defaults in
 * lastcall/serve.ts (limits) and lastcall/shutdown.ts (phases).
 */

// Signals and the end of the process

/**
 * Two signals within it are one: one Ctrl-C reaches the server twice within 5 ms
 * under `bun run` and `deno task`, from the terminal and from the wrapper.
 */
export const SAME_SIGNAL = 500;

/** What hooks and cut servers still get after a deadline struck or a force. */
export const LAST_CHANCE = 1000;

/** How long a reader may take to make room for the rest when the process ends. */
export const FLUSH = 2000;

// Looking at the clock

/** Asked to wait for longer, about 24.8 days, timers of all runtimes fire at once. */
export const LONGEST_WAIT = 2 ** 31 - 1;

/** How often the coarse clock of Deno and Node ticks. */
export const TICK = 100;

/** Bun's ticks more often: what keeps it from that is a long turn. */
export const BUN_TICK = 25;

/** How often Node looks at the event loop, for its delay. */
export const LOOK = 10;

/** How often Node looks for heads, requests and readers that take too long. */
export const CHECKING = 1000;

/** While a body of many small chunks comes in, others wait for this long at most. */
export const LONGEST_TURN = 100;

// Before the listener closes

/**
 * Deno and Bun cannot close their listener alone: their stop closes idle
 * connections too. What it may close must have heard `Connection: close` first,
 * for this long at least.
 */
export const LAST_MOMENTS = 100;

/**
 * Under steady traffic there is no quiet turn of the accept queue to wait for. A
 * machine that is shared may take a third of this away at once.
 */
export const QUEUE_PATIENCE = 1000;

/** How long a connection of our own may take: a busy runtime may not answer. */
export const KNOCK = 100;

/**
 * A turn of the accept queue where no connection of our own tells: on a port
 * that another process shares, that one may take it.
 */
export const BLIND_TURN = 25;

/** Between two batches of WebSockets that are closed. */
export const BATCH_PAUSE = 100;

// Connections while the server closes

/** A connection that never sent a byte may still be about to (Node). */
export const UNUSED_GRACE = 100;

/** Half a request head may still become a whole one (Node). */
export const HALF_HEAD_GRACE = 1000;

/** The same from Bun's stop on: its last moments have passed by then. */
export const BUN_HALF_HEAD_GRACE = 500;

/** How long a client may go on sending a body that nobody reads. */
export const LINGER = 2000;

/** How long a client may take to say that it has heard of the end. */
export const GOODBYE = 1000;

/**
 * Over TLS, Deno's shutdown() resolves with the last records still to be written,
 * and nothing tells when they are. Of 30 MB to a slow reader, an exit on the spot
 * lost up to 64 KB in 3 shutdowns of 125, after 100 ms in 1 of 300.
 */
export const TLS_FLUSH = 250;

/**
 * Over TLS, Bun counts a request as over when the last 128 KB of its answer lie
 * encrypted in a buffer of its own, and stop(true) resets what has not left it:
 * on a busy machine 30 MB to a slow reader were cut short in 1 shutdown of 14.
 * Who has vanished holds the end for as long.
 */
export const BUN_TLS_FLUSH = 1000;

/** Bun has no event for the last byte of a response, only a counter to look at. */
export const PENDING_LOOK = 10;

// A listener that was lost (Deno, out of file descriptors)

/** How long to wait before listening again, at first and at most. */
export const RELISTEN = { first: 10, longest: 1000 };
