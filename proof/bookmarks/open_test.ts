/** Opening the store: what a person gets wrong, and what others do meanwhile. */
import { after, describe, test } from "node:test";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  killAll,
  type Process,
  removeScratch,
  scratchFolder,
} from "../support/server_process.ts";
import { openBookmarks } from "../../src/bookmarks/mod.ts";
import { StartError } from "#lastcall";
import { spawnApp, startApp } from "./app_process.ts";
import {
  kinds,
  missing,
  sqlite,
  withDatabase,
} from "../../tests/bookmarks/databases.ts";
import { openApp, quietController } from "../../tests/bookmarks/in_process.ts";

const noSqlite = missing("SQLite");
const noPostgres = missing("Postgres");
const limit = { timeout: 30_000 };

after(() => {
  killAll();
  removeScratch();
});

/** It ended before it listened, and said why in one line, without secrets. */
async function endsWith(
  server: Process,
  code: number,
  sentence: string,
): Promise<void> {
  const exit = await server.exited;
  assertEquals(exit.code, code, server.describe());
  assertEquals(server.printed("server listening"), []);
  const all = server.output() + server.output("stderr");
  assert(all.includes(sentence), server.describe());
  assert(!all.includes("sesame"), "it printed the password");
  assert(!/\n {4}at /.test(all), "it printed a stack trace");
  assert(!all.includes('"stack"'), "it logged a stack trace");
}

/** A server that does as it is told with each connection. */
async function tcpServer(
  port: number,
  onConnection: (socket: net.Socket) => void,
): Promise<{ port: number; close(): void }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) =>
    server.listen(port, "127.0.0.1", resolve)
  );
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      server.close();
      sockets.forEach((socket) => socket.destroy());
    },
  };
}

async function freePort(): Promise<number> {
  const { port, close } = await tcpServer(0, () => {});
  close();
  return port;
}

const urlOf = (port: number) =>
  `postgres://me:sesame@127.0.0.1:${port}/bookmarks`;

describe("a start that a signal interrupts ends cleanly", () => {
  async function interrupted(server: Process): Promise<void> {
    server.signal("SIGTERM");
    const exit = await server.exited;
    assertEquals(exit.code, 0, server.describe());
    assertEquals(server.printed("server listening"), []);
    assertEquals(server.output("stderr"), "");
    const { outcome, hooks, jobs } = server.report();
    assertEquals([outcome, hooks, jobs], ["clean", [], []]);
    assert(!server.output().includes("sesame"));
  }

  test("between two attempts", limit, async () => {
    const url = urlOf(await freePort());
    const server = await spawnApp({ DATABASE_URL: url });
    const { json } = await server.logged("database not connected", {
      attempt: 3,
    });
    assertEquals(json?.reason, "connection refused");
    await interrupted(server);
  });

  test("while the database accepts and does not answer", limit, async () => {
    let accepted = () => {};
    const connected = new Promise<void>((resolve) => accepted = resolve);
    const deaf = await tcpServer(0, () => accepted());
    const server = await spawnApp({ DATABASE_URL: urlOf(deaf.port) });
    await connected;
    await interrupted(server);
    deaf.close();
  });

  test("while the database hangs up on everybody", limit, async () => {
    let count = 0;
    let often = () => {};
    const seen = new Promise<void>((resolve) => often = resolve);
    const rude = await tcpServer(0, (socket) => {
      socket.destroy();
      if (++count === 2) often();
    });
    const server = await spawnApp({ DATABASE_URL: urlOf(rude.port) });
    await seen;
    await interrupted(server);
    rude.close();
  });
});

describe("while another server migrates", () => {
  const options = { ...limit, skip: noPostgres };

  test(
    "a start waits, and says so",
    options,
    () =>
      withDatabase("Postgres", async (database) => {
        const lock = await database.lockMigrations();
        const server = await spawnApp({
          DATABASE_URL: database.url,
          DATABASE_CONNECT_TIMEOUT_MS: 500,
        });
        await server.logged("another server migrates");
        await lock.release();
        await server.logged("server listening");
        server.signal("SIGTERM");
        assertEquals((await server.exited).code, 0, server.describe());
      }),
  );

  test(
    "a signal ends the waiting",
    options,
    () =>
      withDatabase("Postgres", async (database) => {
        const lock = await database.lockMigrations();
        const server = await spawnApp({ DATABASE_URL: database.url });
        await server.logged("another server migrates");
        server.signal("SIGTERM");
        const exit = await server.exited;
        assertEquals(exit.code, 0, server.describe());
        assertEquals(server.printed("server listening"), []);
        assertEquals(server.report().outcome, "clean");
        await lock.release();
      }),
  );
});

describe("a database that cannot be used is one sentence", () => {
  test("what is no URL of ours: exit code 78", limit, async () => {
    const url = "mysql://me:sesame@127.0.0.1/bookmarks";
    await endsWith(
      await spawnApp({ DATABASE_URL: url }),
      78,
      `DATABASE_URL is a value of ${url.length} characters; expected sqlite:`,
    );
  });

  test("one that is not there until the deadline", limit, async () => {
    const port = await freePort();
    const env = { DATABASE_URL: urlOf(port), DATABASE_CONNECT_TIMEOUT_MS: 600 };
    await endsWith(
      await spawnApp(env),
      1,
      `The database at 127.0.0.1:${port}/bookmarks could not be reached ` +
        "within 600 ms (",
    );
  });

  test(
    "one without this database",
    { ...limit, skip: noPostgres },
    () =>
      withDatabase("Postgres", async ({ here }) => {
        const url = new URL(here.url);
        url.pathname = "nowhere";
        url.password = "sesame";
        await endsWith(
          await spawnApp({ DATABASE_URL: url.href }),
          1,
          `${url.host}/nowhere does not let us in (no such database)`,
        );
      }),
  );

  test(
    "one that does not know us",
    { ...limit, skip: noPostgres },
    () =>
      withDatabase("Postgres", async ({ here }) => {
        const url = new URL(here.url);
        url.username = "stranger";
        url.password = "sesame";
        const server = await spawnApp({ DATABASE_URL: url.href });
        await endsWith(server, 1, "(it refuses this user or password)");
        assert(!server.output().includes("stranger"), "it printed the user");
      }),
  );

  test(
    "one that does not know what the URL asks for",
    { ...limit, skip: noPostgres },
    () =>
      withDatabase("Postgres", async ({ here }) => {
        await endsWith(
          await spawnApp({
            DATABASE_URL: `${here.url}?channel_binding=require`,
          }),
          1,
          "does not let us in (it does not know a parameter of the URL)",
        );
      }),
  );

  test("SQLite where there is none", { ...limit, skip: sqlite }, async () => {
    await endsWith(
      await spawnApp({ DATABASE_URL: "sqlite:./data/bookmarks.db" }),
      1,
      "DATABASE_URL asks for SQLite, which this runtime lacks; use Node 22.13",
    );
  });

  test(
    "a file that is no database",
    { ...limit, skip: noSqlite },
    () =>
      withDatabase("SQLite", async ({ here }) => {
        const data = path.join(here.folder!, "data");
        fs.mkdirSync(data);
        fs.writeFileSync(path.join(data, "bookmarks.db"), "x".repeat(5000));
        await endsWith(
          await spawnApp({ DATABASE_URL: here.url }, here.folder),
          1,
          "The SQLite database ./data/bookmarks.db cannot be used: " +
            "file is not a database",
        );
      }),
  );

  for (const kind of kinds) {
    test(`one on ${kind} that a newer version has migrated`, {
      ...limit,
      skip: missing(kind),
    }, () =>
      withDatabase(kind, async (database) => {
        await (await openApp(database)).stop();
        await database.pretendMigrations(99);
        const { shutdown } = quietController();
        await assertRejects(
          () =>
            openBookmarks({
              config: {
                DATABASE_URL: database.url,
                DATABASE_CONNECT_TIMEOUT_MS: 10_000,
              },
              shutdown,
            }),
          StartError,
          "cannot be used: it has had 99 migrations, and this version knows 2; " +
            "start the newer version that made them.",
        );
        assertEquals((await shutdown.begin()).hooks, []);
      }));
  }
});

describe("a start", () => {
  test("waits for a database that comes later", {
    ...limit,
    skip: noPostgres,
  }, () =>
    withDatabase("Postgres", async (database) => {
      const port = await freePort();
      const real = new URL(database.url);
      const url = new URL(database.url);
      url.port = `${port}`;
      const server = await spawnApp({ DATABASE_URL: url.href });
      await server.logged("database not connected", { attempt: 2 });
      const proxy = await tcpServer(port, (socket) => {
        const upstream = net.connect(Number(real.port), real.hostname);
        upstream.on("error", () => socket.destroy());
        socket.pipe(upstream).pipe(socket);
      });
      await server.logged("server listening");
      server.signal("SIGTERM");
      assertEquals((await server.exited).code, 0, server.describe());
      proxy.close();
    }));

  test("beside others on a new database migrates it once", {
    ...limit,
    skip: noPostgres,
  }, () =>
    withDatabase("Postgres", async (database) => {
      const apps = await Promise.all(
        [1, 2, 3, 4].map(() => openApp(database)),
      );
      for (const app of apps) {
        assertEquals((await app.ask("/bookmarks")).status, 200);
      }
      for (const app of apps) await app.stop();
    }));

  test("without DATABASE_URL makes ./data and uses it", {
    ...limit,
    skip: noSqlite,
  }, async () => {
    const folder = path.join(scratchFolder(), "empty");
    fs.mkdirSync(folder);
    const server = await startApp({ DATABASE_URL: "" }, folder);
    server.signal("SIGTERM");
    assertEquals((await server.exited).code, 0, server.describe());
    // The write-ahead log is merged into it by a clean close.
    assertEquals(fs.readdirSync(path.join(folder, "data")), ["bookmarks.db"]);
  });
});

for (const kind of kinds) {
  const options = { ...limit, skip: missing(kind) };

  test(
    `on ${kind} what was deleted long ago is pruned, and noted`,
    options,
    () =>
      withDatabase(kind, async (database) => {
        const first = await openApp(database);
        const now = new Date().toISOString();
        const fields = { url: "https://example.com/", title: "x", tags: [] };
        const ids = [1, 2, 3, 4].map((n) =>
          `${n}`.repeat(8) + "-0000-4000-8000-000000000000"
        );
        for (const id of ids) {
          await first.opened.store.create({
            ...fields,
            id,
            createdAt: now,
            updatedAt: now,
          });
        }
        const [alive, today, lastMonth, longAgo] = ids;
        const daysAgo = (days: number) =>
          new Date(Date.now() - days * 24 * 60 * 60 * 1000).toISOString();
        await first.opened.store.delete(today!, now);
        await first.opened.store.delete(lastMonth!, daysAgo(29));
        await first.opened.store.delete(longAgo!, daysAgo(31));
        await first.stop();

        let pruned = () => {};
        const seen = new Promise<void>((resolve) => pruned = resolve);
        const second = await openApp(database, ({ message }) => {
          if (message === "bookmarks pruned") pruned();
        });
        await seen;
        await second.stop();
        const left = (await database.bookmarks()).map(({ id }) => id)
          .toSorted();
        assertEquals(left, [alive!, today!, lastMonth!]);
        assertEquals(
          (await database.auditLines()).map((
            line,
          ) => [line.action, line.bookmarkId]),
          [["pruned", longAgo!]],
        );
      }),
  );

  test(
    `on ${kind} a ping tells whether the store can be used`,
    options,
    () =>
      withDatabase(kind, async (database) => {
        const app = await openApp(database);
        await app.opened.store.ping();
        await app.stop();
        await assertRejects(() => app.opened.store.ping());
      }),
  );
}
