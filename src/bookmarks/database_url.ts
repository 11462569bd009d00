/** Where bookmarks are to be kept. */
export type Database =
  | { kind: "sqlite"; path: string }
  | {
    kind: "postgres";
    url: string;
    /** The URL without what only we may know: for log lines and errors. */
    place: string;
  };

/** Ends a sentence about one that is not good; the value may hold a password. */
export const DATABASE_URL_EXPECTED =
  "sqlite:path/to/file.db or postgres://user:password@host:5432/database";

export function isDatabaseUrl(text: string): boolean {
  return readDatabaseUrl(text) !== undefined;
}

/** What a DATABASE_URL means; undefined if nothing that we know. */
export function readDatabaseUrl(text: string): Database | undefined {
  // One letter is a Windows drive, none the start of a path.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === "postgres" || scheme === "postgresql") {
    const place = placeOf(text);
    return place ? { kind: "postgres", url: text, place } : undefined;
  }
  if (scheme !== undefined && scheme !== "sqlite") return undefined;
  // A URL in quotes, as `docker run --env-file` hands them on, or behind a space:
  // as a path it would go into log lines, with its password.
  if (scheme === undefined && /^[\s"']|:\/\//.test(text)) return undefined;
  const path = text.replace(/^sqlite:(\/\/)?/i, "");
  return path ? { kind: "sqlite", path } : undefined;
}

/**
 * Undefined where the `postgres` package could not read the URL, or would ask
 * the system who we are.
 */
function placeOf(text: string): string | undefined {
  try {
    const { host, pathname, username, password } = new URL(text);
    [username, password].forEach(decodeURIComponent);
    return host && username ? `${host}${pathname}` : undefined;
  } catch {
    return undefined;
  }
}
