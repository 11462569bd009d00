import { Problem } from "../kit/problem.ts";
import type { AuditLine } from "./audit_log.ts";
import type { Bookmark, BookmarkFields } from "./bookmark.ts";
import type { Position } from "./cursor.ts";

/** The store cannot be used just now, and may be in a moment. */
export class Unavailable extends Problem {
  override name = "Unavailable";
  constructor(readonly reason: string) {
    const headers = { "Retry-After": "1" };
    super(503, "The bookmarks cannot be reached just now.", { headers });
  }
}

/**
 * Where bookmarks are kept. What a method has resolved is stored: killing the
 * process does not undo it (in memory, of course, it does).
 *
 * A deleted bookmark is not found any more, and stays until it is pruned.
 */
export interface Store {
  create(bookmark: Bookmark): Promise<void>;
  read(id: string): Promise<Bookmark | undefined>;
  /** Returns it as it now is. */
  update(
    id: string,
    changes: Partial<BookmarkFields>,
    updatedAt: string,
  ): Promise<Bookmark | undefined>;
  /** Returns it as it was. */
  delete(id: string, deletedAt: string): Promise<Bookmark | undefined>;
  /** Newest first, those after a position only. */
  list(limit: number, after?: Position): Promise<Bookmark[]>;
  /**
   * Forgets some that were deleted before that time, and returns them. Waits for
   * nobody once `signal` has aborted.
   */
  prune(
    deletedBefore: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<Bookmark[]>;
  /** All or none; a line that is there already is no error. */
  saveAuditLines(lines: AuditLine[]): Promise<void>;
  /** Rejects when the store cannot be used. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
