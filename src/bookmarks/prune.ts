import { pause } from "../kit/pause.ts";
import type { Log } from "#lastcall";
import type { Bookmark } from "./bookmark.ts";
import type { Store } from "./store.ts";

const SECOND = 1000;
const HOUR = 60 * 60 * SECOND;
/** A deleted bookmark can be had back by hand for so long. */
const KEEP_FOR = 30 * 24 * HOUR;
const BATCH = 500;

/** Forgets what was deleted long ago, once an hour until told to stop. */
export async function prune(
  store: Store,
  pruned: (bookmark: Bookmark) => void,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  // A start has enough to do.
  await pause(SECOND, signal);
  while (!signal.aborted) {
    try {
      const count = await pruneOnce(store, pruned, signal);
      if (count > 0) {
        log({ level: "info", message: "bookmarks pruned", count });
      }
    } catch (cause) {
      // A job that fails ends the server; a database may be away for a moment.
      if (signal.aborted) return;
      const error = cause instanceof Error ? cause.message : String(cause);
      log({ level: "error", message: "bookmarks not pruned", error });
    }
    await pause(HOUR, signal);
  }
}

async function pruneOnce(
  store: Store,
  pruned: (bookmark: Bookmark) => void,
  signal: AbortSignal,
): Promise<number> {
  const deletedBefore = new Date(Date.now() - KEEP_FOR).toISOString();
  let count = 0;
  let batch: Bookmark[];
  do {
    batch = await store.prune(deletedBefore, BATCH, signal);
    batch.forEach(pruned);
    count += batch.length;
  } while (batch.length === BATCH && !signal.aborted);
  return count;
}
