/**
 * Another process holds SQLite's write lock: nobody else waits for it, those who
 * write are told in time, and the shutdown keeps its budget.
 */
import { after, afterEach, test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { RawClient, type RawResponse } from "../support/raw_client.ts";
import {
  killAll,
  removeScratch,
  type ServerProcess,
} from "../support/server_process.ts";
import { spawnApp, startApp } from "./app_process.ts";
import {
  missing,
  type TestDatabase,
  withDatabase,
} from "../../tests/bookmarks/databases.ts";

const skip = missing("SQLite");
const WRITES = 30;

afterEach(killAll);
after(removeScratch);

const body = JSON.stringify({ url: "https://hono.dev/", title: "Hono" });
const headers = { "Content-Type": "application/json" };

/** This process takes the write lock, until told to give it back. */
async function lock({ url }: TestDatabase): Promise<() => void> {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(url.replace("sqlite:", ""));
  db.exec("pragma busy_timeout = 2000; begin immediate");
  let held = true;
  return () => {
    if (held) db.close();
    held = false;
  };
}

function start({ here: { url, folder } }: TestDatabase) {
  return startApp({ DATABASE_URL: url }, folder);
}

/** Each on a connection of its own; all have been read when this resolves. */
async function write(server: ServerProcess): Promise<Promise<RawResponse>[]> {
  const clients = await Promise.all(
    Array.from({ length: WRITES }, () => RawClient.connect(server.port)),
  );
  // Has been accepted by the time that it is answered.
  const answers = clients.map(async (client) => {
    await client.send("POST", "/bookmarks", { body, headers });
    return await client.response();
  });
  answers.forEach((answer) => answer.catch(() => {}));
  await (await RawClient.connect(server.port)).get("/");
  return answers;
}

test(
  "while the lock is held others are served, and writes are told to come back",
  {
    skip,
  },
  () =>
    withDatabase("SQLite", async (database) => {
      const server = await start(database);
      const unlock = await lock(database);
      try {
        const began = performance.now();
        const answers = await write(server);
        let isOver = false;
        const all = Promise.all(answers).finally(() => isOver = true);
        const reader = await RawClient.connect(server.port);
        const waits: number[] = [];
        while (!isOver) {
          const asked = performance.now();
          const { status } = await reader.get("/bookmarks");
          waits.push(performance.now() - asked);
          assertEquals(status, 200);
        }
        for (const answer of await all) {
          assertEquals(answer.status, 503, server.describe());
          assertEquals(answer.headers.get("retry-after"), "1");
        }
        const took = performance.now() - began;
        assert(took > 1900 && took < 6000, `they took ${took.toFixed()} ms`);
        waits.sort((a, b) => a - b);
        const p99 = waits[Math.floor(waits.length * 0.99)]!;
        assert(p99 < 250, `a hundredth of the reads took ${p99.toFixed()} ms`);
      } finally {
        unlock();
      }
      // One line says so, and one that it is over.
      const { json } = await server.logged("database unavailable");
      assertEquals(json?.reason, "another process has locked it");
      const [again] = await write(server);
      assertEquals((await again!).status, 201);
      await server.logged("database available again");
      assertEquals(server.printed("database unavailable").length, 1);
      assertEquals(server.printed("request failed"), []);
      server.signal("SIGTERM");
      assertEquals((await server.exited).code, 0, server.describe());
    }),
);

test("writes that wait are done as soon as the lock is given back", {
  skip,
}, () =>
  withDatabase("SQLite", async (database) => {
    const server = await start(database);
    const unlock = await lock(database);
    const answers = await write(server);
    unlock();
    for (const answer of answers) {
      assertEquals((await answer).status, 201, server.describe());
    }
    server.signal("SIGTERM");
    assertEquals((await server.exited).code, 0, server.describe());
    assertEquals((await database.bookmarks()).length, WRITES);
    assertEquals((await database.auditLines()).length, WRITES);
  }));

test("a SIGTERM amid writes that wait answers them all, within its budget", {
  skip,
}, () =>
  withDatabase("SQLite", async (database) => {
    const server = await start(database);
    const unlock = await lock(database);
    try {
      const answers = await write(server);
      server.signal("SIGTERM");
      for (const answer of answers) {
        assertEquals((await answer).status, 503, server.describe());
      }
      const exit = await server.exited;
      assertEquals(exit.code, 0, server.describe());
      // They wait for 2 s, and nothing waits after them.
      assert(
        exit.msSinceSignal < 6000,
        `it ended after ${exit.msSinceSignal.toFixed()} ms`,
      );
      assertEquals(server.report().requests.cut, []);
      assertEquals(server.report().requests.inFlight, WRITES);
    } finally {
      unlock();
    }
  }));

test("audit lines that cannot be saved are a failed hook, within its budget", {
  skip,
}, () =>
  withDatabase("SQLite", async (database) => {
    const server = await start(database);
    const client = await RawClient.connect(server.port);
    await client.send("POST", "/bookmarks", { body, headers });
    assertEquals((await client.response()).status, 201);
    const unlock = await lock(database);
    try {
      server.signal("SIGTERM");
      const exit = await server.exited;
      assertEquals(exit.code, 1, server.describe());
      const { hooks, outcome } = server.report();
      assertEquals(outcome, "failed");
      const [audit, store] = hooks;
      assertEquals(audit?.name, "audit log");
      assertMatch(String(audit?.error), /cannot be reached/);
      assertEquals(store?.error, undefined);
      assert(
        exit.msSinceSignal < 8000,
        `it ended after ${exit.msSinceSignal.toFixed()} ms`,
      );
    } finally {
      unlock();
    }
  }));

test(
  "a start waits for the lock, and a signal ends that",
  { skip },
  () =>
    withDatabase("SQLite", async (database) => {
      // The file has to be there, to be locked.
      const first = await start(database);
      first.signal("SIGTERM");
      await first.exited;

      for (const how of ["waits", "is told to stop"]) {
        const unlock = await lock(database);
        const { url, folder } = database.here;
        const server = await spawnApp({ DATABASE_URL: url }, folder);
        try {
          const { json } = await server.logged("database not connected");
          assertEquals(json?.reason, "another process has locked it");
          if (how === "waits") {
            unlock();
            await server.logged("server listening");
          }
          server.signal("SIGTERM");
          assertEquals((await server.exited).code, 0, server.describe());
          const listened = server.printed("server listening").length;
          assertEquals(listened, how === "waits" ? 1 : 0);
        } finally {
          unlock();
        }
      }
    }),
);
