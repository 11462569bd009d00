import { StartError } from "../server/mod.ts";

/** Where bookmarks are to be kept. */
export type Database =
  | { kind: "sqlite"; path: string }
  | {
    kind: "postgres";
    url: string;
    /** The URL without what only we may know: for log lines and errors. */
    place: string;
  };

const EXPECTED =
  "expected sqlite:path/to/file.db or postgres://user:password@host:5432/database";

/** What a DATABASE_URL means. Throws a StartError unless it is a good one. */
export function readDatabaseUrl(text: string): Database {
  const problem = databaseUrlProblem(text);
  if (problem !== undefined) throw new StartError(`DATABASE_URL ${problem}.`);
  const place = placeOf(text);
  if (/^postgres(ql)?:/i.test(text) && place !== undefined) {
    return { kind: "postgres", url: text, place };
  }
  return { kind: "sqlite", path: text.replace(/^sqlite:(\/\/)?/i, "") };
}

/**
 * What is wrong with a DATABASE_URL, to be read after its name; undefined if
 * nothing is. It may hold a password, so the value is not quoted.
 */
export function databaseUrlProblem(text: string): string | undefined {
  // One letter is a Windows drive, none the start of a path.
  const [, scheme] = /^([a-z][a-z0-9+.-]+):/i.exec(text) ?? [];
  switch (scheme?.toLowerCase()) {
    case undefined:
      return undefined;
    case "sqlite":
      if (/^sqlite:(\/\/)?./i.test(text)) return undefined;
      return `names no file; ${EXPECTED}`;
    case "postgres":
    case "postgresql":
      if (placeOf(text) !== undefined) return undefined;
      return `is not a valid ${scheme} URL; ${EXPECTED}`;
    default:
      return `begins with "${scheme}:"; ${EXPECTED}`;
  }
}

/** Undefined where the `postgres` package could not read the URL. */
function placeOf(text: string): string | undefined {
  try {
    const { host, pathname, username, password } = new URL(text);
    [username, password].forEach(decodeURIComponent);
    return host ? `${host}${pathname}` : undefined;
  } catch {
    return undefined;
  }
}
