import type { Bookmark } from "./bookmark.ts";

/** Where a page ended: in the order of the list, newest first. */
export type Position = Pick<Bookmark, "createdAt" | "id">;

/** The year has four digits and is one that every database knows. */
const POSITION =
  /^([12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** Opaque, so that clients cannot come to rely on what is inside. */
export function encodeCursor({ createdAt, id }: Position): string {
  return btoa(`${createdAt} ${id}`)
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Undefined unless it is one that `encodeCursor` could have made. */
export function decodeCursor(cursor: string): Position | undefined {
  const [, createdAt = "", id = ""] = POSITION.exec(decoded(cursor)) ?? [];
  const time = new Date(createdAt);
  // February 30th has the right shape and is no day.
  if (Number.isNaN(time.getTime())) return undefined;
  return time.toISOString() === createdAt ? { createdAt, id } : undefined;
}

function decoded(cursor: string): string {
  try {
    return atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return "";
  }
}
