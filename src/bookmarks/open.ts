import {
  type Checks,
  type Log,
  type ShutdownController,
  StartError,
} from "#lastcall";
import { type Action, auditLine, AuditLog } from "./audit_log.ts";
import type { Bookmark } from "./bookmark.ts";
import { DATABASE_URL_EXPECTED, readDatabaseUrl } from "./database_url.ts";
import { MemoryStore } from "./memory_store.ts";
import { openPostgres } from "./postgres_store.ts";
import { prune } from "./prune.ts";
import { hasSqlite, openSqlite } from "./sqlite_store.ts";
import type { Store } from "./store.ts";
import type { Settings } from "./variables.ts";

const DEFAULT_URL = "sqlite:./data/bookmarks.db";

export interface OpenOptions {
  /** Without a DATABASE_URL, SQLite in ./data where the runtime has it. */
  config: Settings;
  shutdown: ShutdownController;
  /** Default: nobody asks whether the store answers. */
  checks?: Checks;
  /** Default: the controller's. */
  log?: Log;
}

export interface Bookmarks {
  store: Store;
  /** Notes in the audit log what was done, without keeping anybody waiting. */
  record(action: Action, bookmark: Bookmark): void;
}

/**
 * Opens all that bookmarks need, and says beside each part how it closes. At the
 * end requests stop first, then the job and the last audit lines, then the log
 * is saved, then the store closes.
 */
export async function openBookmarks(
  { config, shutdown, checks, log = shutdown.log }: OpenOptions,
): Promise<Bookmarks> {
  const store = await openStore(config, shutdown, log);
  shutdown.onClose("bookmarks store", () => store.close());
  checks?.add("bookmarks", () => store.ping());

  const audit = new AuditLog((lines) => store.saveAuditLines(lines), log);
  shutdown.onClose("audit log", () => audit.close());

  const record = (action: Action, bookmark: Bookmark) => {
    const written = auditLine(action, bookmark).then((line) =>
      audit.write(line)
    );
    shutdown.waitUntil(written, "audit line");
  };
  shutdown.job(
    "prune bookmarks",
    (signal) =>
      prune(store, (bookmark) => record("pruned", bookmark), log, signal),
  );
  return { store, record };
}

async function openStore(
  { DATABASE_URL: databaseUrl, DATABASE_CONNECT_TIMEOUT_MS: timeout }: Settings,
  { signal }: ShutdownController,
  log: Log,
): Promise<Store> {
  const database = readDatabaseUrl(databaseUrl ?? DEFAULT_URL);
  if (!database) {
    throw new StartError(
      `DATABASE_URL is not understood; expected ${DATABASE_URL_EXPECTED}.`,
    );
  }
  const connecting = { variable: "DATABASE_URL", timeout, signal, log };
  if (database.kind === "postgres") {
    const { url, place } = database;
    return await openPostgres(url, { ...connecting, place });
  }
  const { path } = database;
  if (await hasSqlite()) {
    return await openSqlite(path, { ...connecting, place: path });
  }
  if (databaseUrl !== undefined && path !== ":memory:") {
    throw new StartError(
      "DATABASE_URL asks for SQLite, which this runtime lacks; use Node 22.13 " +
        "or later, Deno or Bun, or set DATABASE_URL to a postgres:// URL.",
    );
  }
  log({
    level: "warn",
    message: "bookmarks kept in memory",
    reason: "this runtime has no SQLite, and DATABASE_URL names no database",
  });
  return new MemoryStore();
}
