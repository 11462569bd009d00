/** A database of its own for each test, and what is in it. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import postgres from "postgres";
import type { Bookmark } from "../../src/bookmarks/bookmark.ts";
import type { AuditLine } from "../../src/bookmarks/audit_log.ts";
import { MIGRATION_LOCK } from "../../src/bookmarks/postgres_store.ts";
import { hasSqlite } from "../../src/bookmarks/sqlite_store.ts";

export interface TestDatabase {
  /** For DATABASE_URL, in any folder. */
  url: string;
  /** The same for a process in that folder, which may use its ./data. */
  here: { url: string; folder: string | undefined };
  bookmarks(): Promise<(Bookmark & { deleted: boolean })[]>;
  auditLines(): Promise<Omit<AuditLine, "at">[]>;
  /** As if a version with so many migrations had been here. */
  pretendMigrations(count: number): Promise<void>;
  /** As if another server were migrating, until it is released. */
  lockMigrations(): Promise<{ release(): Promise<void> }>;
  drop(): Promise<void>;
}

export type Kind = "SQLite" | "Postgres";
export const kinds: Kind[] = ["SQLite", "Postgres"];

const server = process.env.TEST_DATABASE_URL;
export const sqlite = await hasSqlite();

/** For the `skip` of a test: why this kind cannot be tested here, or false. */
export function missing(kind: Kind): string | false {
  if (kind === "SQLite") return !sqlite && "this runtime has no node:sqlite";
  if (server) return false;
  // In CI a Postgres is a must: there the tests run, and fail.
  return process.env.CI !== "true" && "no Postgres: set TEST_DATABASE_URL";
}

export function freshDatabase(kind: Kind): Promise<TestDatabase> {
  return kind === "SQLite" ? freshFile() : freshOnServer();
}

/** A test that fails must not leave a connection that keeps it alive. */
export async function withDatabase(
  kind: Kind,
  use: (database: TestDatabase) => Promise<void>,
): Promise<void> {
  const database = await freshDatabase(kind);
  try {
    await use(database);
  } finally {
    await database.drop();
  }
}

async function freshFile(): Promise<TestDatabase> {
  const { DatabaseSync } = await import("node:sqlite");
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "lastcall-sqlite-"));
  const file = path.join(folder, "data", "bookmarks.db");
  const rows = (query: string) => {
    const db = new DatabaseSync(file);
    const rows = db.prepare(query).all();
    db.close();
    return Promise.resolve(rows);
  };
  return {
    url: `sqlite:${file}`,
    here: { url: "sqlite:./data/bookmarks.db", folder },
    bookmarks: async () =>
      (await rows("select * from bookmarks")).map((row) => ({
        id: String(row.id),
        url: String(row.url),
        title: String(row.title),
        tags: JSON.parse(String(row.tags)),
        createdAt: String(row.created_at),
        updatedAt: String(row.updated_at),
        deleted: row.deleted_at !== null,
      })),
    auditLines: async () =>
      (await rows("select * from bookmark_audit")).map((row) => ({
        id: String(row.id),
        action: String(row.action) as AuditLine["action"],
        bookmarkId: String(row.bookmark_id),
        fingerprint: String(row.fingerprint),
      })),
    pretendMigrations: async (count) =>
      void await rows(`pragma user_version = ${count}`),
    lockMigrations: () => Promise.reject(new Error("SQLite has no such lock")),
    drop: () => Promise.resolve(fs.rmSync(folder, { recursive: true })),
  };
}

async function freshOnServer(): Promise<TestDatabase> {
  if (!server) throw new Error("TEST_DATABASE_URL is not set; start Postgres.");
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const admin = postgres(server, { max: 1, onnotice: () => {} });
  await admin.unsafe(`create database ${name}`);
  const url = new URL(server);
  url.pathname = name;
  const sql = postgres(url.href, { max: 1, onnotice: () => {} });
  return {
    url: url.href,
    here: { url: url.href, folder: undefined },
    bookmarks: async () =>
      (await sql`select * from bookmarks`).map((row) => ({
        id: row.id,
        url: row.url,
        title: row.title,
        tags: row.tags,
        createdAt: row.created_at.toISOString(),
        updatedAt: row.updated_at.toISOString(),
        deleted: row.deleted_at !== null,
      })),
    auditLines: async () =>
      (await sql`select * from bookmark_audit`).map((row) => ({
        id: row.id,
        action: row.action,
        bookmarkId: row.bookmark_id,
        fingerprint: row.fingerprint,
      })),
    pretendMigrations: async (number) =>
      void await sql`insert into bookmark_migrations values (${number})`,
    async lockMigrations() {
      const session = await sql.reserve();
      await session`select pg_advisory_lock(${MIGRATION_LOCK})`;
      return {
        async release() {
          await session`select pg_advisory_unlock(${MIGRATION_LOCK})`;
          session.release();
        },
      };
    },
    async drop() {
      await sql.end({ timeout: 5 });
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end({ timeout: 5 });
    },
  };
}
