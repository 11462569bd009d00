/** Reaching a database that is late, deaf, or not there at all. */
import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  connect,
  type Connecting,
  NotConnected,
} from "../../src/bookmarks/connect.ts";
import {
  isDatabaseUrl,
  readDatabaseUrl,
} from "../../src/bookmarks/database_url.ts";
import { type LogEntry, StartError } from "#lastcall";

describe("a DATABASE_URL", () => {
  const good: [text: string, means: ReturnType<typeof readDatabaseUrl>][] = [
    ["sqlite:./data/b.db", { kind: "sqlite", path: "./data/b.db" }],
    ["sqlite:/var/b.db", { kind: "sqlite", path: "/var/b.db" }],
    ["sqlite:///var/b.db", { kind: "sqlite", path: "/var/b.db" }],
    ["sqlite::memory:", { kind: "sqlite", path: ":memory:" }],
    ["./b.db", { kind: "sqlite", path: "./b.db" }],
    ["C:\\data\\b.db", { kind: "sqlite", path: "C:\\data\\b.db" }],
    [
      "postgres://me:sesame@db:5433/marks?sslmode=require",
      {
        kind: "postgres",
        url: "postgres://me:sesame@db:5433/marks?sslmode=require",
        place: "db:5433/marks",
      },
    ],
    [
      "postgresql://me@db/marks",
      {
        kind: "postgres",
        url: "postgresql://me@db/marks",
        place: "db/marks",
      },
    ],
  ];
  for (const [text, means] of good) {
    test(`${text} is understood`, () => {
      assertEquals(readDatabaseUrl(text), means);
    });
  }

  for (
    const text of [
      "mysql://me:sesame@db/marks",
      "file:./b.db",
      "sqlite:",
      "postgres://",
      "postgres://db/marks",
      "postgres://me:ses%ame@db/marks",
      "postgres://me:sesame@db:port/marks",
      '"postgres://me:sesame@db/marks"',
      "'./b.db'",
      " postgres://me:sesame@db/marks",
      " ./b.db",
      "me:sesame@db://marks",
    ]
  ) {
    test(`${text} is refused`, () => assert(!isDatabaseUrl(text)));
  }
});

describe("connecting", () => {
  function setup(timeout = 10_000) {
    const entries: LogEntry[] = [];
    const stopping = new AbortController();
    const connecting: Connecting = {
      place: "db:5432/marks",
      timeout,
      signal: stopping.signal,
      log: (entry) => void entries.push(entry),
    };
    return { entries, stopping, connecting };
  }
  const refused = () => new NotConnected("connection refused", true);

  test("goes on until it succeeds; each pause is about twice the last", async () => {
    const { entries, connecting } = setup();
    let attempts = 0;
    const result = await connect(() => {
      if (++attempts < 4) return Promise.reject(refused());
      return Promise.resolve("connected");
    }, connecting);
    assertEquals(result, "connected");
    assertEquals(
      entries.map(({ attempt, reason }) => [attempt, reason]),
      [1, 2, 3].map((attempt) => [attempt, "connection refused"]),
    );
    for (const [i, entry] of entries.entries()) {
      const longest = 100 * 2 ** i;
      const ms = Number(entry.retryInMs);
      assert(ms >= longest / 2 && ms <= longest, `${ms} after try ${i + 1}`);
    }
  });

  test("gives up at the deadline, in one sentence", async () => {
    const { entries, connecting } = setup(500);
    await assertRejects(
      () => connect(() => Promise.reject(refused()), connecting),
      StartError,
      "The database at db:5432/marks could not be reached within 500 ms " +
        "(connection refused); start it, or mend DATABASE_URL.",
    );
    assert(entries.length >= 2);
    assertEquals(entries.at(-1)?.retryInMs, undefined);
  });

  test("gives up at once where trying again cannot help", async () => {
    const { entries, connecting } = setup();
    const hopeless = new NotConnected("no such database", false);
    await assertRejects(
      () => connect(() => Promise.reject(hopeless), connecting),
      StartError,
      "The database at db:5432/marks does not let us in (no such database)",
    );
    assertEquals(entries.length, 1);
  });

  test("ends an attempt that never settles", async () => {
    const { connecting } = setup(50);
    await assertRejects(
      () =>
        connect(
          (signal) =>
            new Promise((_, reject) =>
              signal.addEventListener("abort", () => reject(signal.reason))
            ),
          connecting,
        ),
      StartError,
      "(no answer in time)",
    );
  });

  test("passes on an error that is a mistake of ours", async () => {
    const { entries, connecting } = setup();
    await assertRejects(
      () => connect(() => Promise.reject(new TypeError("oops")), connecting),
      TypeError,
      "oops",
    );
    assertEquals(entries, []);
  });

  test("stops during an attempt when the server is told to stop", async () => {
    const { entries, stopping, connecting } = setup();
    const reason = new Error("SIGTERM");
    const failed = await assertRejects(
      () =>
        connect((signal) =>
          new Promise((_, reject) => {
            signal.addEventListener("abort", () => reject(signal.reason));
            stopping.abort(reason);
          }), connecting),
    );
    assertEquals(failed, reason);
    assertEquals(entries, []);
  });

  test("stops during a pause when the server is told to stop", async () => {
    const { stopping, connecting } = setup();
    const reason = new Error("SIGTERM");
    let attempts = 0;
    const log = () => stopping.abort(reason);
    const failed = await assertRejects(
      () =>
        connect(() => {
          attempts++;
          return Promise.reject(refused());
        }, { ...connecting, log }),
    );
    assertEquals(failed, reason);
    assertEquals(attempts, 1);
  });
});
