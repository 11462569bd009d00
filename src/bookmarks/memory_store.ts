import type { AuditLine } from "./audit_log.ts";
import type { Bookmark, BookmarkFields } from "./bookmark.ts";
import type { Position } from "./cursor.ts";
import type { Store } from "./store.ts";

interface Row extends Bookmark {
  deletedAt: string | undefined;
}

/** For a try-out where there is no database: all is gone with the process. */
export class MemoryStore implements Store {
  readonly #rows = new Map<string, Row>();
  readonly auditLines = new Map<string, AuditLine>();

  create(bookmark: Bookmark): Promise<void> {
    this.#rows.set(bookmark.id, { ...bookmark, deletedAt: undefined });
    return Promise.resolve();
  }

  read(id: string): Promise<Bookmark | undefined> {
    const row = this.#alive(id);
    return Promise.resolve(row && toBookmark(row));
  }

  update(
    id: string,
    changes: Partial<BookmarkFields>,
    updatedAt: string,
  ): Promise<Bookmark | undefined> {
    const row = this.#alive(id);
    if (!row) return Promise.resolve(undefined);
    const updated = { ...row, ...changes, updatedAt };
    this.#rows.set(id, updated);
    return Promise.resolve(toBookmark(updated));
  }

  delete(id: string, deletedAt: string): Promise<Bookmark | undefined> {
    const row = this.#alive(id);
    if (row) row.deletedAt = deletedAt;
    return Promise.resolve(row && toBookmark(row));
  }

  list(limit: number, after?: Position): Promise<Bookmark[]> {
    const rows = [...this.#rows.values()]
      .filter((row) => row.deletedAt === undefined)
      .filter((row) => !after || place(row) < place(after))
      .sort((a, b) => place(a) < place(b) ? 1 : -1);
    return Promise.resolve(rows.slice(0, limit).map(toBookmark));
  }

  prune(deletedBefore: string, limit: number): Promise<Bookmark[]> {
    const rows = [...this.#rows.values()]
      .filter(({ deletedAt }) => deletedAt && deletedAt < deletedBefore)
      .slice(0, limit);
    for (const { id } of rows) this.#rows.delete(id);
    return Promise.resolve(rows.map(toBookmark));
  }

  saveAuditLines(lines: AuditLine[]): Promise<void> {
    for (const line of lines) this.auditLines.set(line.id, line);
    return Promise.resolve();
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #alive(id: string): Row | undefined {
    const row = this.#rows.get(id);
    return row?.deletedAt === undefined ? row : undefined;
  }
}

/** In the order of the list; ISO times and UUIDs sort as they read. */
function place({ createdAt, id }: Position): string {
  return `${createdAt} ${id}`;
}

function toBookmark({ deletedAt: _, ...bookmark }: Row): Bookmark {
  return bookmark;
}
