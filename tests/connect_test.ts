/** Reaching a database that is late, deaf, or not there at all. */
import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect, type Connecting, NotConnected } from "../src/kit/connect.ts";
import { type LogEntry, StartError } from "#lastcall";

describe("connecting", () => {
  function setup(timeout = 10_000) {
    const entries: LogEntry[] = [];
    const stopping = new AbortController();
    const connecting: Connecting = {
      variable: "DATABASE_URL",
      place: "db:5432/app",
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
      "The database at db:5432/app could not be reached within 500 ms " +
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
      "The database at db:5432/app does not let us in (no such database)",
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
