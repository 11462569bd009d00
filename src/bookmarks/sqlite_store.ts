import { mkdir } from "node:fs/promises";
import type { DatabaseSync } from "node:sqlite";
import { type Log, StartError } from "#lastcall";
import type { AuditLine } from "./audit_log.ts";
import type { Bookmark, BookmarkFields } from "./bookmark.ts";
import type { Position } from "./cursor.ts";
import { connect, type Connecting, NotConnected } from "../kit/connect.ts";
import { LOCKED, LockWait } from "./lock_wait.ts";
import { migrations, missingMigrations } from "./migrations.ts";
import type { Store } from "./store.ts";

/** How long a write shows that there is room for more, in milliseconds. */
const TRUST = 2000;

/** Throws a StartError that says why, if the file cannot be used. */
export async function openSqlite(
  path: string,
  connecting: Connecting,
): Promise<Store> {
  // Node 20 lacks it: asked for here, so that it is missed only where needed.
  const { DatabaseSync } = await import("node:sqlite");
  let db: DatabaseSync | undefined;
  try {
    const folder = path.replace(/[^/\\]*$/, "");
    if (folder) await makeFolder(folder);
    db = new DatabaseSync(path);
    const opened = db;
    return await connect(() => attempt(opened, connecting.log), connecting);
  } catch (error) {
    db?.close();
    if (error instanceof StartError || connecting.signal.aborted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `The SQLite database ${path} cannot be used: ${reason}`,
      { cause: error },
    );
  }
}

// deno-lint-ignore require-await
async function attempt(db: DatabaseSync, log: Log): Promise<Store> {
  try {
    // FULL: a commit is on the disk before the client hears of it, so not even
    // a power cut undoes it. It costs 0.25 ms a write where NORMAL costs 0.02.
    db.exec(`
      pragma busy_timeout = 0;
      pragma journal_mode = wal;
      pragma synchronous = full;`);
    migrate(db);
    return new SqliteStore(db, log);
  } catch (error) {
    if (!isLocked(error)) throw error;
    throw new NotConnected(LOCKED, true);
  }
}

/** In Deno's errors nothing but the message says so. */
function isLocked(error: unknown): boolean {
  return error instanceof Error && error.message === "database is locked";
}

export async function hasSqlite(): Promise<boolean> {
  return await import("node:sqlite").then(() => true, () => false);
}

function migrate(db: DatabaseSync): void {
  inTransaction(db, () => {
    const had = Number(db.prepare("pragma user_version").get()?.user_version);
    for (const { sqlite } of missingMigrations(had)) db.exec(sqlite);
    db.exec(`pragma user_version = ${migrations.length}`);
  });
}

function inTransaction(db: DatabaseSync, act: () => void): void {
  db.exec("begin immediate");
  try {
    act();
    db.exec("commit");
  } catch (error) {
    try {
      db.exec("rollback");
    } catch {
      // SQLite has rolled it back by itself, as it does where the disk is full:
      // what is to be told is why.
    }
    throw error;
  }
}

type Row = Record<string, unknown>;

/** `node:sqlite` works in this thread and returns at once. */
class SqliteStore implements Store {
  readonly #lock: LockWait;
  readonly #create;
  readonly #read;
  readonly #update;
  readonly #delete;
  readonly #list;
  readonly #listAfter;
  readonly #prune;
  readonly #saveAuditLine;
  readonly #version;
  #writableUntil = 0;

  constructor(private readonly db: DatabaseSync, log: Log) {
    this.#lock = new LockWait(isLocked, log);
    this.#create = db.prepare(`
      insert into bookmarks (id, url, title, tags, created_at, updated_at)
      values (?, ?, ?, ?, ?, ?)`);
    this.#read = db.prepare(`
      select * from bookmarks where id = ? and deleted_at is null`);
    this.#update = db.prepare(`
      update bookmarks
      set url = coalesce(?, url), title = coalesce(?, title),
          tags = coalesce(?, tags), updated_at = ?
      where id = ? and deleted_at is null
      returning *`);
    this.#delete = db.prepare(`
      update bookmarks set deleted_at = ? where id = ? and deleted_at is null
      returning *`);
    this.#list = db.prepare(`
      select * from bookmarks where deleted_at is null
      order by created_at desc, id desc limit ?`);
    this.#listAfter = db.prepare(`
      select * from bookmarks
      where deleted_at is null and (created_at, id) < (?, ?)
      order by created_at desc, id desc limit ?`);
    this.#prune = db.prepare(`
      delete from bookmarks where id in
        (select id from bookmarks where deleted_at < ? limit ?)
      returning *`);
    this.#saveAuditLine = db.prepare(`
      insert into bookmark_audit (id, at, action, bookmark_id, fingerprint)
      values (?, ?, ?, ?, ?) on conflict do nothing`);
    this.#version = db.prepare("pragma user_version");
  }

  async create(bookmark: Bookmark): Promise<void> {
    const { id, url, title, tags, createdAt, updatedAt } = bookmark;
    const list = JSON.stringify(tags);
    await this.#lock.write(() =>
      this.#create.run(id, url, title, list, createdAt, updatedAt)
    );
  }

  async read(id: string): Promise<Bookmark | undefined> {
    return toBookmark(await this.#lock.read(() => this.#read.get(id)));
  }

  async update(
    id: string,
    { url, title, tags }: Partial<BookmarkFields>,
    updatedAt: string,
  ): Promise<Bookmark | undefined> {
    const list = tags ? JSON.stringify(tags) : null;
    const row = await this.#lock.write(() =>
      this.#update.get(url ?? null, title ?? null, list, updatedAt, id)
    );
    return toBookmark(row);
  }

  async delete(id: string, deletedAt: string): Promise<Bookmark | undefined> {
    return toBookmark(
      await this.#lock.write(() => this.#delete.get(deletedAt, id)),
    );
  }

  async list(limit: number, after?: Position): Promise<Bookmark[]> {
    const rows = await this.#lock.read(() =>
      after
        ? this.#listAfter.all(after.createdAt, after.id, limit)
        : this.#list.all(limit)
    );
    return rows.map((row) => toBookmark(row));
  }

  async prune(
    deletedBefore: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<Bookmark[]> {
    const rows = await this.#lock.write(
      () => this.#prune.all(deletedBefore, limit),
      signal,
    );
    return rows.map((row) => toBookmark(row));
  }

  async saveAuditLines(lines: AuditLine[]): Promise<void> {
    await this.#lock.write(() =>
      inTransaction(this.db, () => {
        for (const { id, at, action, bookmarkId, fingerprint } of lines) {
          this.#saveAuditLine.run(id, at, action, bookmarkId, fingerprint);
        }
      })
    );
  }

  /**
   * Every now and then with a write, which is how a full disk shows. Another
   * process's lock is no reason to be taken out: it passes, and reads go on.
   */
  // deno-lint-ignore require-await
  async ping(): Promise<void> {
    try {
      this.#version.get();
      if (performance.now() < this.#writableUntil) return;
      inTransaction(this.db, () => {
        // The same again. Read anew: a newer version may have migrated.
        const version = Number(this.#version.get()?.user_version);
        this.db.exec(`pragma user_version = ${version}`);
      });
      this.#writableUntil = performance.now() + TRUST;
    } catch (error) {
      if (!isLocked(error)) throw error;
    }
  }

  // deno-lint-ignore require-await
  async close(): Promise<void> {
    this.db.close();
  }
}

function toBookmark(row: Row): Bookmark;
function toBookmark(row: Row | undefined): Bookmark | undefined;
function toBookmark(row: Row | undefined): Bookmark | undefined {
  return row && {
    id: String(row.id),
    url: String(row.url),
    title: String(row.title),
    tags: JSON.parse(String(row.tags)),
    createdAt: String(row.created_at),
    updatedAt: String(row.updated_at),
  };
}

/**
 * Not `recursive`: Deno then wants to read the folder above, and in a terminal
 * asks a person for the right to, and waits.
 */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "EEXIST") return;
    const above = folder.replace(/[^/\\]+[/\\]*$/, "");
    if (code !== "ENOENT" || !above) throw error;
    await makeFolder(above);
    await mkdir(folder);
  }
}
