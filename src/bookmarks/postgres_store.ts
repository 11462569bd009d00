import type { Row, Sql } from "postgres";
import { type Log, StartError } from "#lastcall";
import type { AuditLine } from "./audit_log.ts";
import type { Bookmark, BookmarkFields } from "./bookmark.ts";
import { connect, type Connecting, NotConnected } from "../kit/connect.ts";
import type { Position } from "./cursor.ts";
import { migrations, missingMigrations } from "./migrations.ts";
import { Outage } from "./outage.ts";
import { type Store, Unavailable } from "./store.ts";

type Postgres = typeof import("postgres");

/** Seconds for what is still going on when the store is closed. */
const LAST_QUERIES = 2;

/** Any number will do, as long as no other program takes the same lock. */
export const MIGRATION_LOCK = 20_261_121;

/** Throws a StartError if the database does not answer in time. */
export async function openPostgres(
  url: string,
  connecting: Connecting,
): Promise<Store> {
  // Only where it is needed: it is a good part of what a start has to read.
  const { default: postgres } = await import("postgres");
  const sql = await connect(
    (signal) => attempt(postgres, url, signal),
    connecting,
  );
  const { signal, place } = connecting;
  try {
    await Promise.race([migrate(sql, connecting), aborted(signal)]);
    return new PostgresStore(sql, connecting.log);
  } catch (error) {
    await sql.end({ timeout: 0 });
    signal.throwIfAborted();
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `The database at ${place} cannot be used: ${reason}`,
      { cause: error },
    );
  }
}

/**
 * The package goes on by itself as long as the server accepts and hangs up,
 * its own time limit notwithstanding: hence a client for each attempt, and an
 * end to it when we have waited long enough.
 */
async function attempt(
  postgres: Postgres,
  url: string,
  signal: AbortSignal,
): Promise<Sql> {
  const sql = postgres(url, {
    // It would print them.
    onnotice: () => {},
    // In seconds, from a failed connection to the next. The package's own grows
    // to 20, for all ten connections together: so long a request hung after
    // Postgres was back. Nor may it be long, for those that wait fail one by one.
    backoff: () => 0.02,
    connect_timeout: 5,
  });
  try {
    await Promise.race([sql`select 1`, aborted(signal)]);
    return sql;
  } catch (error) {
    await sql.end({ timeout: 0 });
    throw signal.aborted ? signal.reason : notConnected(error);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

/** In our own words: the server's would name the user. */
function notConnected(error: unknown): unknown {
  const code = error instanceof Error && "code" in error && String(error.code);
  if (!code) return error;
  // Class 28 is about who we are, class 42 about what we ask for.
  if (code.startsWith("28")) {
    return new NotConnected("it refuses this user or password", false);
  }
  if (code === "3D000") return new NotConnected("no such database", false);
  if (code === "42704") {
    return new NotConnected("it does not know a parameter of the URL", false);
  }
  if (code.startsWith("42")) return new NotConnected(code, false);
  return new NotConnected(OUTAGES[code] ?? code, true);
}

/** What says that the server is out of reach, and may be back in a moment. */
const OUTAGES: Record<string, string> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "it hung up",
  EPIPE: "it hung up",
  CONNECTION_CLOSED: "it hung up",
  ENOTFOUND: "its name is not known",
  EAI_AGAIN: "its name is not known",
  EHOSTUNREACH: "no way to it",
  ENETUNREACH: "no way to it",
  ETIMEDOUT: "no answer in time",
  CONNECT_TIMEOUT: "no answer in time",
  "57P01": "it is starting or stopping",
  "57P02": "it has crashed",
  "57P03": "it is starting or stopping",
  "53300": "it has no connection to spare",
};

async function migrate(
  sql: Sql,
  { place, log }: Pick<Connecting, "place" | "log">,
): Promise<void> {
  await sql.begin(async (sql) => {
    // Servers that start together must not migrate together.
    const [lock] = await sql`
      select pg_try_advisory_xact_lock(${MIGRATION_LOCK}) as taken`;
    if (!lock?.taken) {
      // For as long as that takes: to give up would help nobody.
      log({ level: "info", message: "another server migrates", place });
      await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`;
    }
    await sql`
      create table if not exists bookmark_migrations (number int primary key)`;
    const [last] = await sql`
      select coalesce(max(number), 0) as number from bookmark_migrations`;
    for (const { postgres } of missingMigrations(last?.number)) {
      await sql.unsafe(postgres);
    }
    await sql`
      insert into bookmark_migrations (number) values (${migrations.length})
      on conflict do nothing`;
  });
}

class PostgresStore implements Store {
  readonly #outage: Outage;

  constructor(private readonly sql: Sql, log: Log) {
    this.#outage = new Outage(log);
  }

  /** Whoever asks in an outage is told to come back. */
  async #run<Rows>(query: PromiseLike<Rows>): Promise<Rows> {
    const { moment } = this.#outage;
    try {
      const rows = await query;
      this.#outage.over(moment);
      return rows;
    } catch (error) {
      const { code } = error as { code?: unknown };
      const reason = OUTAGES[String(code)];
      if (reason === undefined) throw error;
      this.#outage.seen(reason, moment);
      throw new Unavailable(reason);
    }
  }

  async create(bookmark: Bookmark): Promise<void> {
    const { id, url, title, tags, createdAt, updatedAt } = bookmark;
    await this.#run(this.sql`
      insert into bookmarks (id, url, title, tags, created_at, updated_at)
      values (${id}, ${url}, ${title}, ${tags}, ${createdAt}, ${updatedAt})`);
  }

  async read(id: string): Promise<Bookmark | undefined> {
    const [row] = await this.#run(this.sql`
      select * from bookmarks where id = ${id} and deleted_at is null`);
    return row && toBookmark(row);
  }

  async update(
    id: string,
    { url, title, tags }: Partial<BookmarkFields>,
    updatedAt: string,
  ): Promise<Bookmark | undefined> {
    const [row] = await this.#run(this.sql`
      update bookmarks
      set url = coalesce(${url ?? null}, url),
          title = coalesce(${title ?? null}, title),
          tags = coalesce(${tags ?? null}, tags),
          updated_at = ${updatedAt}
      where id = ${id} and deleted_at is null
      returning *`);
    return row && toBookmark(row);
  }

  async delete(id: string, deletedAt: string): Promise<Bookmark | undefined> {
    const [row] = await this.#run(this.sql`
      update bookmarks set deleted_at = ${deletedAt}
      where id = ${id} and deleted_at is null
      returning *`);
    return row && toBookmark(row);
  }

  async list(limit: number, after?: Position): Promise<Bookmark[]> {
    const { sql } = this;
    const rows = await this.#run(sql`
      select * from bookmarks
      where deleted_at is null ${
      after
        ? sql`and (created_at, id) < (${after.createdAt}, ${after.id})`
        : sql``
    }
      order by created_at desc, id desc limit ${limit}`);
    return rows.map(toBookmark);
  }

  async prune(deletedBefore: string, limit: number): Promise<Bookmark[]> {
    const rows = await this.#run(this.sql`
      delete from bookmarks where id in
        (select id from bookmarks where deleted_at < ${deletedBefore}
         limit ${limit})
      returning *`);
    return rows.map(toBookmark);
  }

  async saveAuditLines(lines: AuditLine[]): Promise<void> {
    const rows = lines.map(({ id, at, action, bookmarkId, fingerprint }) => (
      { id, at, action, bookmark_id: bookmarkId, fingerprint }
    ));
    await this.#run(this.sql`
      insert into bookmark_audit ${this.sql(rows)} on conflict do nothing`);
  }

  async ping(): Promise<void> {
    try {
      await this.#run(this.sql`select 1`);
    } catch (error) {
      // Who asks for the checks is told more than a client.
      throw error instanceof Unavailable ? new Error(error.reason) : error;
    }
  }

  async close(): Promise<void> {
    await this.sql.end({ timeout: LAST_QUERIES });
  }
}

function toBookmark(row: Row): Bookmark {
  return {
    id: row.id,
    url: row.url,
    title: row.title,
    tags: row.tags,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
