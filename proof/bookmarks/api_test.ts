/** The API on Postgres, and over HTTP against the app as each runtime starts it. */
import { assertEquals } from "@std/assert";
import { after } from "node:test";
import { type Api, onFresh, suite } from "../../tests/bookmarks/api.ts";
import {
  kinds,
  missing,
  sqlite,
  type TestDatabase,
} from "../../tests/bookmarks/databases.ts";
import { openApp } from "../../tests/bookmarks/in_process.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import { startApp } from "./app_process.ts";

suite(
  "in process, on Postgres",
  missing("Postgres"),
  () => onFresh("Postgres", openApp),
);

for (const kind of kinds) {
  suite(`over HTTP, on ${kind}`, missing(kind), () => onFresh(kind, serveApp));
}

suite(
  "over HTTP, in memory",
  sqlite && "a runtime that has SQLite uses it",
  () => serveApp(undefined),
);

async function serveApp(database: TestDatabase | undefined): Promise<Api> {
  const server = await startApp(
    database ? { DATABASE_URL: database.here.url } : {},
    database?.here.folder,
  );
  return {
    ask: (path, init) => fetch(`${server.url}${path}`, init),
    async stop() {
      server.signal("SIGTERM");
      assertEquals((await server.exited).code, 0, server.describe());
      assertEquals(server.output("stderr"), "");
      assertEquals(server.report().outcome, "clean");
      if (!database) {
        const [line] = server.printed("bookmarks kept in memory");
        assertEquals(line?.json?.level, "warn");
      }
    },
  };
}

after(() => {
  killAll();
  removeScratch();
});
