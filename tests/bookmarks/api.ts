/** What the API promises, whatever is behind `ask`. */
import { after, before, describe, test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { auditLine } from "../../src/bookmarks/audit_log.ts";
import type { Bookmark } from "../../src/bookmarks/bookmark.ts";
import { encodeCursor } from "../../src/bookmarks/cursor.ts";
import { freshDatabase, type kinds, type TestDatabase } from "./databases.ts";
import type { Ask } from "./in_process.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const nobody = "00000000-0000-4000-8000-000000000000";

export interface Api {
  ask: Ask;
  stop(): Promise<unknown>;
}

export function suite(
  where: string,
  skip: string | false,
  open: () => Promise<Api>,
): void {
  describe(`bookmarks, ${where}`, { skip: skip || false }, () => {
    let api: Api;
    before(async () => {
      if (!skip) api = await open();
    });
    after(async () => {
      if (!skip) await api.stop();
    });

    const send = (method: string, path: string, body: unknown) =>
      api.ask(path, {
        method,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      });
    const create = async (fields: Partial<Bookmark> = {}) => {
      const body = { url: "https://example.com/", title: "Example", ...fields };
      const response = await send("POST", "/bookmarks", body);
      assertEquals(response.status, 201);
      return await response.json() as Bookmark;
    };
    const json = async <Body>(response: Promise<Response> | Response) =>
      await (await response).json() as Body;
    type Page = { bookmarks: Bookmark[]; next: string | null };
    const page = (path: string) => json<Page>(api.ask(path));
    /** The status, the fields that are wrong, and that it is a problem. */
    const problem = async (response: Response) => {
      const body = await json<{
        status: number;
        errors?: { field: string }[];
      }>(response);
      assertMatch(
        response.headers.get("Content-Type") ?? "",
        /^application\/problem\+json/,
      );
      assertEquals(body.status, response.status);
      const { errors = [] } = body;
      return [response.status, ...errors.map(({ field }) => field)];
    };

    test("one is created, with its address, and can be read there", async () => {
      const response = await send("POST", "/bookmarks", {
        url: "https://example.com/a?b=c#d",
        title: "  Ein Beispiel, 例 🎉 ",
        tags: ["to read", "例", "to read"],
      });
      assertEquals(response.status, 201);
      const bookmark = await response.json() as Bookmark;
      assertMatch(bookmark.id, UUID);
      assertEquals(
        response.headers.get("Location"),
        `/bookmarks/${bookmark.id}`,
      );
      assertEquals(bookmark, {
        id: bookmark.id,
        url: "https://example.com/a?b=c#d",
        title: "Ein Beispiel, 例 🎉",
        tags: ["to read", "例"],
        createdAt: bookmark.createdAt,
        updatedAt: bookmark.createdAt,
      });
      assertEquals(
        new Date(bookmark.createdAt).toISOString(),
        bookmark.createdAt,
      );

      const read = await api.ask(`/bookmarks/${bookmark.id}`);
      assertEquals(read.status, 200);
      assertEquals(await read.json(), bookmark);
    });

    test("tags may be left out", async () => {
      assertEquals((await create()).tags, []);
    });

    test("a change changes what it names and nothing else", async () => {
      const before = await create({ tags: ["a"] });
      const change = (body: unknown) =>
        send("PATCH", `/bookmarks/${before.id}`, body);
      const titled = await json<Bookmark>(change({ title: "New" }));
      assert(titled.updatedAt >= before.updatedAt);
      const { updatedAt } = titled;
      assertEquals(titled, { ...before, title: "New", updatedAt });

      const emptied = await json<Bookmark>(change({ tags: [] }));
      assertEquals([emptied.title, emptied.tags], ["New", []]);
      const read = await api.ask(`/bookmarks/${before.id}`);
      assertEquals(await read.json(), emptied);
    });

    test("a deleted one is gone from everywhere", async () => {
      const { id } = await create();
      const path = `/bookmarks/${id}`;
      const response = await api.ask(path, { method: "DELETE" });
      assertEquals(response.status, 204);
      assertEquals(await response.text(), "");
      assertEquals(await problem(await api.ask(path)), [404]);
      assertEquals(
        await problem(await api.ask(path, { method: "DELETE" })),
        [404],
      );
      assertEquals(
        await problem(await send("PATCH", path, { title: "x" })),
        [404],
      );
      const { bookmarks } = await page("/bookmarks?limit=100");
      assertEquals(bookmarks.filter((one) => one.id === id), []);
    });

    for (const id of [nobody, "1", "%00", "a'b", nobody.toUpperCase(), "..."]) {
      test(`no bookmark has the id ${id}`, async () => {
        assertEquals(await problem(await api.ask(`/bookmarks/${id}`)), [404]);
      });
    }

    test("pages follow one another, newest first, and none is missed", async () => {
      const ids: string[] = [];
      for (let n = 0; n < 7; n++) ids.unshift((await create()).id);
      const seen: string[] = [];
      let path: string | null = "/bookmarks?limit=3";
      while (path) {
        const { bookmarks, next }: Page = await page(path);
        assert(bookmarks.length <= 3);
        seen.push(...bookmarks.map(({ id }) => id));
        path = next;
      }
      assertEquals(new Set(seen).size, seen.length);
      // Those of one millisecond are in the order of their ids.
      assertEquals(seen.slice(0, 7).toSorted(), ids.toSorted());
    });

    test("what is created or deleted meanwhile disturbs no page", async () => {
      const ids: string[] = [];
      for (let n = 0; n < 6; n++) ids.push((await create()).id);
      const first = await page("/bookmarks?limit=2");
      // Within one millisecond chance decides what is newer.
      while (new Date().toISOString() <= first.bookmarks[0]!.createdAt) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await create();
      await api.ask(`/bookmarks/${first.bookmarks[1]!.id}`, {
        method: "DELETE",
      });
      const second = await page(first.next!);
      const shown = [...first.bookmarks, ...second.bookmarks]
        .map(({ id }) => id);
      assertEquals(shown.length, 4);
      assertEquals(new Set(shown).size, 4);
      assertEquals(shown.every((id) => ids.includes(id)), true);
    });

    test("all that is wrong with a body is said at once", async () => {
      const response = await send("POST", "/bookmarks", {
        url: "javascript:alert(1)",
        tags: ["fine", "", 7],
        titel: "Oops",
        owner: "me",
      });
      assertEquals(await problem(response), [
        422,
        "url",
        "title",
        "tags.1",
        "tags.2",
        "titel",
        "owner",
      ]);
    });

    const wrong: [field: string, fields: Record<string, unknown>][] = [
      ["url", { url: "example.com" }],
      ["url", { url: "ftp://example.com/" }],
      ["url", { url: "https://" }],
      ["url", { url: "https://exa mple.com/" }],
      ["url", { url: `https://example.com/${"a".repeat(2048)}` }],
      ["url", { url: "https://example.com/\u0000" }],
      ["url", { url: null }],
      ["title", { title: "  " }],
      ["title", { title: "a".repeat(201) }],
      ["title", { title: "nul\u0000" }],
      ["title", { title: "half \ud800" }],
      ["title", { title: "line\nbreak" }],
      ["title", { title: ["a"] }],
      ["tags", { tags: "a" }],
      ["tags", { tags: Array.from({ length: 21 }, (_, n) => `${n}`) }],
      ["tags.0", { tags: ["a".repeat(51)] }],
      ["id", { id: nobody }],
    ];
    for (const [field, fields] of wrong) {
      const shown = JSON.stringify(fields).slice(0, 50);
      test(`${shown} is refused, new or as a change`, async () => {
        const body = { url: "https://example.com/", title: "x", ...fields };
        assertEquals(
          await problem(await send("POST", "/bookmarks", body)),
          [422, field],
        );
        const { id } = await create();
        assertEquals(
          await problem(await send("PATCH", `/bookmarks/${id}`, fields)),
          [422, field],
        );
      });
    }

    for (const body of ["[]", "null", "7", '"text"']) {
      test(`${body} is no bookmark`, async () => {
        const headers = { "Content-Type": "application/json" };
        const response = await api.ask("/bookmarks", {
          method: "POST",
          headers,
          body,
        });
        assertEquals(await problem(response), [422, ""]);
        const { id } = await create();
        const change = await api.ask(`/bookmarks/${id}`, {
          method: "PATCH",
          headers,
          body,
        });
        assertEquals(await problem(change), [422, ""]);
      });
    }

    test("what is no JSON is refused", async () => {
      for (const body of ["", "{", '{"url":}', "\u0000", "[".repeat(30_000)]) {
        const response = await api.ask("/bookmarks", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body,
        });
        assertEquals(await problem(response), [400], body.slice(0, 20));
      }
    });

    test("what does not say that it is JSON is refused", async () => {
      for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
        const response = await api.ask("/bookmarks", {
          method: "POST",
          headers: { "Content-Type": type },
          body: JSON.stringify({ url: "https://example.com/", title: "x" }),
        });
        assertEquals(await problem(response), [415], type);
      }
    });

    test("a body that is far too big is refused", async () => {
      const response = await send("POST", "/bookmarks", {
        url: "https://example.com/",
        title: "x".repeat(70_000),
      });
      assertEquals(await problem(response), [413]);
    });

    const queries: [query: string, ...fields: string[]][] = [
      ["limit=0", "limit"],
      ["limit=101", "limit"],
      ["limit=1.5", "limit"],
      ["limit=", "limit"],
      ["limit=2&limit=3", "limit"],
      ["cursor=", "cursor"],
      ["cursor=bm9uc2Vuc2U", "cursor"],
      ["cursor=%00", "cursor"],
      [`cursor=${encodeCursor({ createdAt: "now", id: nobody })}`, "cursor"],
      [
        `cursor=${
          encodeCursor({ createdAt: "2026-02-30T00:00:00.000Z", id: nobody })
        }`,
        "cursor",
      ],
      [
        `cursor=${
          encodeCursor({ createdAt: "0000-01-01T00:00:00.000Z", id: nobody })
        }`,
        "cursor",
      ],
      [
        `cursor=${
          encodeCursor({ createdAt: "2026-02-03T00:00:00.000Z", id: "'" })
        }`,
        "cursor",
      ],
      ["limit=x&cursor=x", "limit", "cursor"],
    ];
    for (const [query, ...fields] of queries) {
      test(`the query ${query.slice(0, 40)} is refused`, async () => {
        assertEquals(
          await problem(await api.ask(`/bookmarks?${query}`)),
          [422, ...fields],
        );
      });
    }

    test("HEAD is as GET, without the body", async () => {
      const { id } = await create();
      const response = await api.ask(`/bookmarks/${id}`, { method: "HEAD" });
      assertEquals(response.status, 200);
      assertEquals(await response.text(), "");
    });
  });
}

/** Stopping it checks what was noted in the audit log on the way. */
export async function onFresh(
  kind: typeof kinds[number],
  open: (database: TestDatabase) => Promise<Api>,
): Promise<Api> {
  const database = await freshDatabase(kind);
  const api = await open(database);
  return {
    ask: api.ask,
    async stop() {
      try {
        await api.stop();
        await checkAudit(database);
      } finally {
        await database.drop();
      }
    },
  };
}

async function checkAudit(database: TestDatabase): Promise<void> {
  const bookmarks = await database.bookmarks();
  const lines = await database.auditLines();
  assert(bookmarks.length > 20);
  for (const { deleted: _, ...bookmark } of bookmarks) {
    const own = lines.filter((line) => line.bookmarkId === bookmark.id);
    const created = own.filter(({ action }) => action === "created");
    assertEquals(created.length, 1);
    const { fingerprint } = await auditLine("updated", bookmark);
    assert(own.some((line) => line.fingerprint === fingerprint));
  }
}
