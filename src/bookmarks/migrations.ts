/**
 * How the tables came to be, step by step. A migration's number is its place in
 * this list: add to the end, and never change one that has been released.
 */
export const migrations: readonly { sqlite: string; postgres: string }[] = [
  {
    sqlite: `
      create table bookmarks (
        id text primary key,
        url text not null,
        title text not null,
        tags text not null, -- a JSON list
        created_at text not null,
        updated_at text not null,
        deleted_at text
      ) strict;
      create index bookmarks_in_order on bookmarks (created_at, id)
        where deleted_at is null;
      create index bookmarks_deleted on bookmarks (deleted_at)
        where deleted_at is not null;`,
    postgres: `
      create table bookmarks (
        id uuid primary key,
        url text not null,
        title text not null,
        tags text[] not null,
        created_at timestamptz not null,
        updated_at timestamptz not null,
        deleted_at timestamptz
      );
      create index bookmarks_in_order on bookmarks (created_at, id)
        where deleted_at is null;
      create index bookmarks_deleted on bookmarks (deleted_at)
        where deleted_at is not null;`,
  },
  {
    sqlite: `
      create table bookmark_audit (
        id text primary key,
        at text not null,
        action text not null,
        bookmark_id text not null,
        fingerprint text not null
      ) strict;`,
    postgres: `
      create table bookmark_audit (
        id uuid primary key,
        at timestamptz not null,
        action text not null,
        bookmark_id uuid not null,
        fingerprint text not null
      );`,
  },
];

/** The migrations that a database lacks which has had so many of them. */
export function missingMigrations(had: number): typeof migrations {
  if (had <= migrations.length) return migrations.slice(had);
  throw new Error(
    `it has had ${had} migrations, and this version knows ` +
      `${migrations.length}; start the newer version that made them.`,
  );
}
