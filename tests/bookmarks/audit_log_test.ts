import { describe, test } from "node:test";
import { assertEquals, assertRejects } from "@std/assert";
import {
  type AuditLine,
  auditLine,
  AuditLog,
} from "../../src/bookmarks/audit_log.ts";
import type { LogEntry } from "#lastcall";

function line(n: number): AuditLine {
  const id = `line ${n}`;
  return { id, at: "", action: "created", bookmarkId: "", fingerprint: "" };
}

/** Saves into a list, one call after another, when it is told to. */
function setup({ flushEvery = 60_000 } = {}) {
  const saved: string[][] = [];
  const entries: LogEntry[] = [];
  let failures = 0;
  let calls = 0;
  let called = () => {};
  const log = new AuditLog(
    (lines) => {
      calls++;
      called();
      if (failures-- > 0) return Promise.reject(new Error("no database"));
      saved.push(lines.map(({ id }) => id));
      return Promise.resolve();
    },
    (entry) => void entries.push(entry),
    flushEvery,
  );
  return {
    log,
    saved,
    entries,
    calls: () => calls,
    failNext: (count: number) => failures = count,
    nextCall: () => new Promise<void>((resolve) => called = resolve),
  };
}

const ids = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `line ${from + n}`);

describe("the audit log", () => {
  test("saves nothing until a while has passed, then all", async () => {
    const { log, saved, nextCall } = setup({ flushEvery: 20 });
    const flushed = nextCall();
    log.write(line(1));
    log.write(line(2));
    assertEquals(saved, []);
    await flushed;
    assertEquals(saved, [ids(1, 2)]);
    await log.close();
    assertEquals(saved.length, 1);
  });

  test("saves a full batch at once", async () => {
    const { log, saved, nextCall } = setup();
    const flushed = nextCall();
    for (let n = 1; n <= 100; n++) log.write(line(n));
    await flushed;
    assertEquals(saved, [ids(1, 100)]);
    await log.close();
  });

  test("saves the rest when it is closed, in batches, in order", async () => {
    const { log, saved } = setup();
    for (let n = 1; n <= 99; n++) log.write(line(n));
    const closed = log.close();
    for (let n = 100; n <= 250; n++) log.write(line(n));
    await closed;
    assertEquals(saved.flat(), ids(1, 250));
  });

  test("keeps what could not be saved, says so, and tries again", async () => {
    const { log, saved, entries, failNext, nextCall } = setup({
      flushEvery: 20,
    });
    failNext(1);
    const failed = nextCall();
    log.write(line(1));
    await failed;
    log.write(line(2));
    await nextCall();
    assertEquals(saved, [ids(1, 2)]);
    assertEquals(entries, [{
      level: "error",
      message: "audit lines not saved",
      waiting: 2,
      error: "no database",
    }]);
    await log.close();
  });

  test("tries a full batch that fails once, however many lines come", async () => {
    const { log, saved, entries, calls, failNext, nextCall } = setup();
    failNext(1);
    const failed = nextCall();
    for (let n = 1; n <= 100; n++) log.write(line(n));
    await failed;
    await new Promise((resolve) => setTimeout(resolve));
    for (let n = 101; n <= 2000; n++) log.write(line(n));
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals([calls(), entries.length], [1, 1]);
    await log.close();
    assertEquals(saved.flat(), ids(1, 2000));
  });

  test("closes after a failure beside it with one more try", async () => {
    const { log, saved, failNext } = setup();
    failNext(1);
    for (let n = 1; n <= 100; n++) log.write(line(n));
    await log.close();
    assertEquals(saved.flat(), ids(1, 100));
  });

  test("fails to close when the last lines cannot be saved", async () => {
    const { log, calls, failNext } = setup();
    failNext(Infinity);
    log.write(line(1));
    await assertRejects(() => log.close(), Error, "no database");
    assertEquals(calls(), 1);
  });

  test("closes at once when there is nothing to save", async () => {
    const { log, calls } = setup();
    await log.close();
    assertEquals(calls(), 0);
  });
});

test("a line proves what a bookmark was and does not tell", async () => {
  const bookmark = {
    id: "5f7c1f0e-0d5e-4c3e-8a55-0a8f3a1d7b11",
    url: "https://example.com/",
    title: "Example",
    tags: [],
    createdAt: "2026-11-21T08:00:00.000Z",
    updatedAt: "2026-11-21T08:00:00.000Z",
  };
  const one = await auditLine("created", bookmark);
  assertEquals(one.bookmarkId, bookmark.id);
  assertEquals(
    one.fingerprint,
    "1fded9ace1eb4e4fc099c3414485305a00562e39dece26a418bbff7e10f4bd97",
  );
  const other = await auditLine("updated", { ...bookmark, title: "Other" });
  assertEquals(other.fingerprint === one.fingerprint, false);
  assertEquals(other.id === one.id, false);
});
