import { Hono } from "hono";
import { compress } from "hono/compress";
import * as v from "valibot";
import { Problem } from "../kit/problem.ts";
import { valid } from "../kit/valid.ts";
import { bodyLimit } from "#lastcall";
import { type Bookmark, bookmarkChanges, newBookmark } from "./bookmark.ts";
import { decodeCursor, encodeCursor } from "./cursor.ts";
import type { Bookmarks } from "./open.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The longest valid body is a few kilobytes. */
const smallBody = bodyLimit(64 * 1024);

const page = v.object({
  limit: v.optional(
    v.pipe(
      v.string("expected one whole number from 1 to 100"),
      v.regex(/^([1-9][0-9]?|100)$/, "expected a whole number from 1 to 100"),
      v.transform(Number),
    ),
    "20",
  ),
  cursor: v.optional(v.pipe(
    v.string("expected one cursor"),
    v.transform(decodeCursor),
    v.check(
      (position) => position !== undefined,
      "expected a cursor from the `next` of a page",
    ),
  )),
});

/** The REST API; mount it with `app.route("/bookmarks", …)`. */
export function bookmarks({ store, record }: Bookmarks): Hono {
  const app = new Hono();

  app.post("/", smallBody, valid("json", newBookmark), async (c) => {
    const { url, title, tags } = c.req.valid("json");
    const id = crypto.randomUUID();
    const createdAt = new Date().toISOString();
    const bookmark: Bookmark = {
      id,
      url,
      title,
      tags,
      createdAt,
      updatedAt: createdAt,
    };
    await store.create(bookmark);
    record("created", bookmark);
    return c.json(bookmark, 201, { Location: `${c.req.path}/${id}` });
  });

  app.get("/", compress(), valid("query", page), async (c) => {
    const { limit, cursor } = c.req.valid("query");
    // One more than asked for tells whether there is a next page.
    const found = await store.list(limit + 1, cursor);
    const bookmarks = found.slice(0, limit);
    const last = found.length > limit ? bookmarks.at(-1) : undefined;
    const next = last
      ? `${c.req.path}?limit=${limit}&cursor=${encodeCursor(last)}`
      : null;
    return c.json({ bookmarks, next });
  });

  app.get("/:id", async (c) => {
    const id = knownId(c.req.param("id"));
    return c.json(existing(await store.read(id)));
  });

  app.patch("/:id", smallBody, valid("json", bookmarkChanges), async (c) => {
    const id = knownId(c.req.param("id"));
    const now = new Date().toISOString();
    const changed = existing(
      await store.update(id, c.req.valid("json"), now),
    );
    record("updated", changed);
    return c.json(changed);
  });

  app.delete("/:id", async (c) => {
    const id = knownId(c.req.param("id"));
    const now = new Date().toISOString();
    record("deleted", existing(await store.delete(id, now)));
    return c.body(null, 204);
  });

  return app;
}

/** What is no id is the id of nothing. */
function knownId(id: string): string {
  return UUID.test(id) ? id : existing<string>(undefined);
}

function existing<T>(found: T | undefined): T {
  if (found !== undefined) return found;
  throw new Problem(404, "No bookmark has this id.");
}
