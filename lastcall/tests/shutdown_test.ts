import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { describe, test } from "node:test";
import { systemClock } from "../clock.ts";
import type { LogEntry } from "../log.ts";
import { ShutdownController, type ShutdownOptions } from "../shutdown.ts";
import { FakeClock, settle } from "../testing/fake_clock.ts";
import { FakeServer } from "../testing/fake_server.ts";

function setup(options: ShutdownOptions = {}) {
  const clock = new FakeClock();
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const shutdown = new ShutdownController({ log, ...options }, clock);
  return { clock, entries, shutdown };
}

/** With one server that is already serving. */
function serving(options: ShutdownOptions = {}) {
  const server = new FakeServer();
  const set = setup(options);
  set.shutdown.attach(server, server.sockets);
  return { ...set, server };
}

const never = () => new Promise<never>(() => {});

describe("the options", () => {
  test("are times, and a batch of one or more", () => {
    const wrong = { drainTimeout: -1, idleGrace: NaN, socketBatch: 0 };
    assertThrows(
      () => new ShutdownController({ log() {}, ...wrong }),
      RangeError,
      "idleGrace is NaN, drainTimeout is -1, socketBatch is 0; expected",
    );
  });

  test("may be for ever", async () => {
    const { clock, shutdown, server } = serving({ drainTimeout: Infinity });
    shutdown.begin();
    await clock.advance(1e9);
    assertEquals(shutdown.phase, "closing");
    server.drained();
    assertEquals((await shutdown.finished).outcome, "clean");
  });

  test("for ever is no millisecond to the system's clock", async () => {
    let struck = false;
    const cancel = systemClock.after(Infinity, () => struck = true);
    await new Promise<void>((resolve) => systemClock.after(20, resolve));
    cancel();
    assert(!struck);
  });
});

describe("the phases", () => {
  test("go from starting to closed, each with its duration", async () => {
    const { clock, shutdown } = setup({ drainDelay: 500 });
    assertEquals(shutdown.phase, "starting");
    await clock.advance(30);
    const server = new FakeServer();
    shutdown.attach(server, server.sockets);
    assertEquals(shutdown.phase, "serving");
    await clock.advance(1000);

    const finished = shutdown.begin("SIGTERM");
    assertEquals(shutdown.phase, "draining");
    await clock.advance(499);
    assertEquals(shutdown.phase, "draining");
    assertEquals(server.calls, ["countAnswers"]);
    await clock.advance(1);
    assertEquals(shutdown.phase, "closing");
    assertEquals(server.calls, ["countAnswers", "close 250"]);
    await clock.advance(70);
    let released = () => {};
    shutdown.onClose("gate", () => new Promise<void>((r) => released = r));
    server.drained();
    await settle();
    assertEquals(shutdown.phase, "cleanup");
    await clock.advance(5);
    released();

    const report = await finished;
    assertEquals(shutdown.phase, "closed");
    assertEquals(report.phases, [
      { phase: "starting", ms: 30 },
      { phase: "serving", ms: 1000 },
      { phase: "draining", ms: 500 },
      { phase: "closing", ms: 70 },
      { phase: "cleanup", ms: 5 },
    ]);
    assertEquals(report.reason, "SIGTERM");
    assertEquals(report.outcome, "clean");
    assertEquals(report.exitCode, 0);
    assertEquals(clock.waiting, 0);
  });

  test("skip the drain delay when nothing is served", async () => {
    const { shutdown } = setup({ drainDelay: 60_000 });
    const report = await shutdown.begin();
    assertEquals(report.outcome, "clean");
  });

  test("close every server of a controller, and wait for all of them", async () => {
    const { shutdown, server: first } = serving();
    const second = new FakeServer();
    shutdown.attach(second, second.sockets);
    shutdown.begin();
    await settle();
    assertEquals(first.calls, ["countAnswers", "close 250"]);
    assertEquals(second.calls, ["countAnswers", "close 250"]);
    first.drained();
    await settle();
    assertEquals(shutdown.phase, "closing");
    second.drained();
    await shutdown.finished;
  });
});

describe("begin", () => {
  test("aborts the signal at once, with the phase already moved", () => {
    const { shutdown } = serving();
    const seen: string[] = [];
    shutdown.signal.addEventListener("abort", () => seen.push(shutdown.phase));
    shutdown.begin("SIGINT");
    assertEquals(seen, ["draining"]);
    assertEquals(shutdown.signal.reason.name, "AbortError");
    assertMatch(shutdown.signal.reason.message, /SIGINT/);
  });

  test("is idempotent: the same promise, the first reason", async () => {
    const { shutdown } = setup();
    const first = shutdown.begin("one");
    assertStrictEquals(shutdown.begin("two"), first);
    assertStrictEquals(shutdown.finished, first);
    assertEquals((await first).reason, "one");
  });

  test("inside a hook returns the promise of the shutdown going on", async () => {
    const { shutdown } = setup();
    let inner: unknown;
    shutdown.onClose("asks again", () => {
      inner = shutdown.begin("again");
    });
    const report = await shutdown.begin("first");
    assertStrictEquals(inner, shutdown.finished);
    assertEquals(report.reason, "first");
  });

  test("counts what was in flight and what was answered since", async () => {
    const { shutdown, server } = serving();
    server.requests = [
      { method: "GET", url: "/a", since: -1 },
      { method: "GET", url: "/b", since: -2 },
    ];
    shutdown.begin();
    await settle();
    server.completed = 3;
    server.drained();
    const { requests } = await shutdown.finished;
    assertEquals(requests, { inFlight: 2, completed: 3, cut: [] });
  });

  test("survives a logger that throws", async () => {
    const { shutdown } = setup({
      log() {
        throw new Error("disk full");
      },
    });
    assertEquals((await shutdown.begin()).exitCode, 0);
  });
});

describe("fail", () => {
  test("begins the shutdown, and the error is in the report", async () => {
    const { shutdown } = setup();
    const error = new Error("broken");
    const report = await shutdown.fail(error);
    assertEquals(report.errors, [error]);
    assertEquals(report.outcome, "failed");
    assertEquals(report.exitCode, 1);
  });

  test("during a shutdown turns its exit code to 1", async () => {
    const { shutdown, server } = serving();
    shutdown.begin("SIGTERM");
    await settle();
    shutdown.fail("not even an Error");
    server.drained();
    const report = await shutdown.finished;
    assertEquals(report.reason, "SIGTERM");
    assertEquals(report.exitCode, 1);
    assertEquals(report.errors.map(String), ["Error: not even an Error"]);
  });
});

describe("the drain timeout", () => {
  test("cuts what is left, names it, and still cleans up", async () => {
    const { clock, entries, shutdown, server } = serving({
      drainTimeout: 3000,
    });
    const stuck = { method: "GET", path: "/never", ageMs: 4000 };
    server.requests = [{ method: "GET", url: "/never", since: -1000 }];
    let closed = false;
    shutdown.onClose("database", () => {
      closed = true;
    });
    shutdown.begin();
    await clock.advance(2999);
    assertEquals(server.calls, ["countAnswers", "close 250"]);
    await clock.advance(1);
    const report = await shutdown.finished;
    assertEquals(server.calls.at(-1), "cut");
    assertEquals(report.requests.cut, [stuck]);
    assertEquals(report.outcome, "timeout");
    assertEquals(report.exitCode, 1);
    assert(closed);
    assertEquals(entries.find(({ message }) => message === "request cut"), {
      level: "warn",
      message: "request cut",
      ...stuck,
    });
  });

  test("counts from the closing of the listener, not from the signal", async () => {
    const { clock, shutdown, server } = serving({
      drainDelay: 5000,
      drainTimeout: 1000,
    });
    shutdown.begin();
    await clock.advance(5999);
    assertEquals(shutdown.phase, "closing");
    server.drained();
    assertEquals((await shutdown.finished).outcome, "clean");
  });

  test("is not held by a server that cannot even be cut", async () => {
    const { clock, shutdown, server } = serving({ drainTimeout: 100 });
    server.cut = never;
    shutdown.begin();
    await clock.advance(100 + 1000);
    assertEquals((await shutdown.finished).outcome, "timeout");
  });

  test("a server that fails to close is in the report", async () => {
    const { shutdown, server } = serving();
    server.closeFails = new Error("no such listener");
    const report = await shutdown.begin();
    assertEquals(report.errors.map(String), ["Error: no such listener"]);
    assertEquals(report.exitCode, 1);
  });
});

describe("force", () => {
  test("before begin begins and cuts in one go", async () => {
    const { shutdown, server } = serving({ drainDelay: 60_000 });
    server.requests = [{ method: "GET", url: "/", since: -1 }];
    shutdown.force("SIGINT");
    const report = await shutdown.finished;
    assertEquals(server.calls, ["countAnswers", "close 250", "cut"]);
    assertEquals(report.reason, "SIGINT");
    assertEquals(report.outcome, "forced");
    assertEquals(report.exitCode, 1);
    assertEquals(report.requests.cut.length, 1);
  });

  test("ends the drain delay", async () => {
    const { clock, shutdown, server } = serving({ drainDelay: 60_000 });
    shutdown.begin();
    await clock.advance(10);
    shutdown.force();
    const report = await shutdown.finished;
    assertEquals(server.calls.at(-1), "cut");
    assertEquals(report.outcome, "forced");
  });

  test("ends the drain", async () => {
    const { clock, shutdown, server } = serving();
    shutdown.begin();
    await clock.advance(700);
    shutdown.force();
    const report = await shutdown.finished;
    assertEquals(server.calls.at(-1), "cut");
    assertEquals(clock.now(), 700);
    assertEquals(report.exitCode, 1);
  });

  test("during cleanup leaves the hooks one second", async () => {
    const { clock, shutdown } = setup({ cleanupTimeout: 60_000 });
    const order: string[] = [];
    shutdown.onClose("first opened", () => {
      order.push("first opened");
    });
    shutdown.onClose("stuck", () => {
      order.push("stuck");
      return never();
    });
    shutdown.begin();
    await clock.advance(5000);
    assertEquals(shutdown.phase, "cleanup");
    shutdown.force();
    await clock.advance(999);
    assertEquals(shutdown.phase, "cleanup");
    await clock.advance(1);
    const report = await shutdown.finished;
    assertEquals(order, ["stuck", "first opened"]);
    assertEquals(report.outcome, "forced");
    assertEquals(report.hooks, [
      { name: "stuck", ms: 6000, error: "timed out" },
      { name: "first opened", ms: 0 },
    ]);
  });

  test("called by a hook shortens what is left of the cleanup", async () => {
    const { clock, shutdown } = setup({ cleanupTimeout: 60_000 });
    shutdown.onClose("stuck", never);
    shutdown.onClose("impatient", () => shutdown.force());
    shutdown.begin();
    await clock.advance(1000);
    assertEquals((await shutdown.finished).outcome, "forced");
  });

  test("leaves stuck work half a second, so that hooks get theirs", async () => {
    const { clock, shutdown } = setup();
    let closed = false;
    shutdown.job("stuck", never);
    shutdown.onClose("database", async () => {
      await new Promise<void>((resolve) => clock.after(400, resolve));
      closed = true;
    });
    shutdown.force();
    await clock.advance(900);
    const report = await shutdown.finished;
    assert(closed);
    assertEquals(report.jobs, [{ name: "stuck", ms: 500, error: "timed out" }]);
    assertEquals(report.hooks, [{ name: "database", ms: 400 }]);
  });

  test("twice is once, and after the end is nothing", async () => {
    const { entries, shutdown } = setup();
    shutdown.force("one");
    shutdown.force("two");
    await shutdown.finished;
    shutdown.force("three");
    const forced = entries.filter((e) => e.message === "shutdown forced");
    assertEquals(forced.map(({ reason }) => reason), ["one"]);
    assertEquals(entries.at(-1)?.message, "shutdown finished");
  });
});

describe("hooks", () => {
  test("run one after the other, last registered first", async () => {
    const { clock, shutdown } = setup();
    const order: string[] = [];
    for (const name of ["database", "cache", "queue"]) {
      shutdown.onClose(name, async () => {
        order.push(`${name} closing`);
        await new Promise<void>((resolve) => clock.after(10, resolve));
        order.push(`${name} closed`);
      });
    }
    shutdown.begin();
    await clock.advance(30);
    const report = await shutdown.finished;
    assertEquals(order, [
      "queue closing",
      "queue closed",
      "cache closing",
      "cache closed",
      "database closing",
      "database closed",
    ]);
    assertEquals(report.hooks, [
      { name: "queue", ms: 10 },
      { name: "cache", ms: 10 },
      { name: "database", ms: 10 },
    ]);
  });

  test("that throw or reject stop no other", async () => {
    const { entries, shutdown } = setup();
    const order: string[] = [];
    shutdown.onClose("last", () => {
      order.push("last");
    });
    shutdown.onClose("throws", () => {
      throw new Error("one");
    });
    shutdown.onClose("rejects", () => Promise.reject(new Error("two")));
    const report = await shutdown.begin();
    assertEquals(order, ["last"]);
    assertEquals(report.errors.map(({ message }) => message), ["two", "one"]);
    assertEquals(report.outcome, "failed");
    assertEquals(report.exitCode, 1);
    assertEquals(report.hooks, [
      { name: "rejects", ms: 0, error: "two" },
      { name: "throws", ms: 0, error: "one" },
      { name: "last", ms: 0 },
    ]);
    const failed = entries.filter((e) => e.message === "hook failed");
    assertEquals(failed.map(({ name }) => name), ["rejects", "throws"]);
  });

  test("that never settle are named, and the rest get one last chance", async () => {
    const { clock, entries, shutdown } = setup({ cleanupTimeout: 2000 });
    const order: string[] = [];
    shutdown.onClose("database", async () => {
      await new Promise<void>((resolve) => clock.after(900, resolve));
      order.push("database");
    });
    shutdown.onClose("stuck", never);
    shutdown.begin();
    await clock.advance(2000);
    assertEquals(shutdown.phase, "cleanup");
    await clock.advance(900);
    const report = await shutdown.finished;
    assertEquals(order, ["database"]);
    assertEquals(report.outcome, "timeout");
    assertEquals(report.hooks[0], {
      name: "stuck",
      ms: 2000,
      error: "timed out",
    });
    assertEquals(
      entries.filter((e) => e.message === "hook timed out").map((e) => e.name),
      ["stuck"],
    );
  });

  test("that all hang end within the timeout and one second", async () => {
    const { clock, shutdown } = setup({ cleanupTimeout: 2000 });
    const called: string[] = [];
    for (const name of ["a", "b", "c"]) {
      shutdown.onClose(name, () => {
        called.push(name);
        return never();
      });
    }
    shutdown.begin();
    await clock.advance(3000);
    await shutdown.finished;
    assertEquals(called, ["c", "b", "a"]);
    assertEquals(clock.waiting, 0);
  });

  test("come before work that goes on and on, once a deadline has struck", async () => {
    const { clock, shutdown } = setup({ cleanupTimeout: 2000 });
    let closed = false;
    const retry = (): Promise<void> =>
      new Promise((resolve) =>
        clock.after(100, () => {
          shutdown.waitUntil(retry(), "retry");
          resolve();
        })
      );
    shutdown.onClose("database", async () => {
      await new Promise<void>((resolve) => clock.after(500, resolve));
      closed = true;
    });
    shutdown.waitUntil(retry(), "retry");
    shutdown.begin();
    await clock.advance(3100);
    const report = await shutdown.finished;
    assert(closed);
    assertEquals(report.outcome, "timeout");
    assertEquals(report.hooks, [{ name: "database", ms: 500 }]);
  });

  test("that throw what has no words are failures too", async () => {
    const { shutdown } = setup();
    shutdown.onClose("odd", () => {
      throw Object.create(null);
    });
    const { exitCode, errors } = await shutdown.begin();
    assertEquals(exitCode, 1);
    assertMatch(errors[0]!.message, /no error was thrown/);
  });

  test("registered as the last of them ends run, at the latest at once", async () => {
    for (let turns = 0; turns < 20; turns++) {
      const { shutdown } = setup();
      let ran = false;
      shutdown.onClose("first", () => {});
      shutdown.begin();
      for (let turn = 0; turn < turns; turn++) await null;
      shutdown.onClose("late", () => void (ran = true));
      await shutdown.finished;
      await settle();
      assert(ran, `not after ${turns} turns`);
    }
  });

  test("registered while draining run, newest first", async () => {
    const { shutdown, server } = serving();
    const order: string[] = [];
    shutdown.onClose("early", () => {
      order.push("early");
    });
    shutdown.begin();
    await settle();
    shutdown.onClose("late", () => {
      order.push("late");
    });
    server.drained();
    await shutdown.finished;
    assertEquals(order, ["late", "early"]);
  });

  test("registered by a hook run next", async () => {
    const { shutdown } = setup();
    const order: string[] = [];
    shutdown.onClose("first", () => {
      order.push("first");
    });
    shutdown.onClose("opens another", () => {
      order.push("opens another");
      shutdown.onClose("another", () => {
        order.push("another");
      });
    });
    const report = await shutdown.begin();
    assertEquals(order, ["opens another", "another", "first"]);
    assertEquals(report.hooks.length, 3);
  });

  test("registered after the end run at once, and cannot throw", async () => {
    const { entries, shutdown } = setup();
    const report = await shutdown.begin();
    let closed = false;
    shutdown.onClose("too late", () => {
      closed = true;
      throw new Error("still");
    });
    assert(closed);
    await settle();
    assertEquals(entries.at(-1)?.message, "hook failed");
    assertEquals(report.hooks, []);
  });
});

describe("jobs", () => {
  test("are told to stop after the last request, and awaited before hooks", async () => {
    const { shutdown, server } = serving();
    const order: string[] = [];
    shutdown.onClose("database", () => {
      order.push("database");
    });
    shutdown.job("ticker", async (signal) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      order.push("told");
      await settle();
      order.push("stopped");
    });
    shutdown.begin();
    await settle();
    assertEquals(order, []);
    server.drained();
    const report = await shutdown.finished;
    assertEquals(order, ["told", "stopped", "database"]);
    assertEquals(report.jobs, [{ name: "ticker", ms: 0 }]);
  });

  test("that reject because they were aborted did as they were told", async () => {
    const { shutdown } = setup();
    shutdown.job("fetcher", (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      }));
    const report = await shutdown.begin();
    assertEquals(report.exitCode, 0);
    assertEquals(report.jobs, [{ name: "fetcher", ms: 0 }]);
  });

  test("that fail shut the server down", async () => {
    const { shutdown, server } = serving();
    shutdown.job("ticker", () => Promise.reject(new Error("broke")));
    await settle();
    assertEquals(shutdown.phase, "closing");
    server.drained();
    const report = await shutdown.finished;
    assertEquals(report.reason, "job ticker failed");
    assertEquals(report.exitCode, 1);
    assertEquals(report.jobs, [{ name: "ticker", ms: 0, error: "broke" }]);
  });

  test("that throw before their first await fail the same way", async () => {
    const { shutdown } = setup();
    shutdown.job("hasty", () => {
      throw new Error("at once");
    });
    const report = await shutdown.finished;
    assertEquals(report.errors.map(({ message }) => message), ["at once"]);
  });

  test("that never settle are named, and hooks still run", async () => {
    const { clock, entries, shutdown } = setup({ cleanupTimeout: 2000 });
    let closed = false;
    shutdown.job("stuck", never);
    shutdown.onClose("database", () => {
      closed = true;
    });
    shutdown.begin();
    await clock.advance(2000);
    const report = await shutdown.finished;
    assert(closed);
    assertEquals(report.outcome, "timeout");
    assertEquals(report.jobs, [{
      name: "stuck",
      ms: 2000,
      error: "timed out",
    }]);
    assertEquals(
      entries.filter((e) => e.message === "job timed out").map((e) => e.name),
      ["stuck"],
    );
  });

  test("that ended while serving are not remembered", async () => {
    const { shutdown } = setup();
    shutdown.job("short", () => Promise.resolve());
    await settle();
    assertEquals((await shutdown.begin()).jobs, []);
  });

  test("are not started any more once jobs were told to stop", async () => {
    const { shutdown } = setup();
    let ran = false;
    shutdown.onClose("late", () =>
      shutdown.job("too late", () => {
        ran = true;
        return Promise.resolve();
      }));
    await shutdown.begin();
    assertEquals(ran, false);
  });
});

describe("waitUntil", () => {
  test("is awaited after the requests and before the hooks", async () => {
    const { clock, shutdown } = setup();
    const order: string[] = [];
    shutdown.onClose("database", () => {
      order.push("database");
    });
    shutdown.waitUntil(
      new Promise<void>((resolve) =>
        clock.after(300, () => {
          order.push("mail");
          resolve();
        })
      ),
      "mail",
    );
    shutdown.begin();
    await clock.advance(300);
    const report = await shutdown.finished;
    assertEquals(order, ["mail", "database"]);
    assertEquals(report.waitUntil, [{ name: "mail", ms: 300 }]);
  });

  test("that fails while serving is logged and forgotten", async () => {
    const { entries, shutdown } = setup();
    shutdown.waitUntil(Promise.reject(new Error("smtp")), "mail");
    await settle();
    assertEquals(shutdown.phase, "starting");
    assertEquals(entries.map((e) => [e.message, e.name, e.error]), [
      ["waitUntil failed", "mail", "smtp"],
    ]);
    assertEquals((await shutdown.begin()).exitCode, 0);
  });

  test("that fails during the shutdown is in the report", async () => {
    const { shutdown } = setup();
    let fail!: (error: Error) => void;
    shutdown.waitUntil(new Promise((_, reject) => fail = reject), "mail");
    shutdown.begin();
    fail(new Error("smtp"));
    const report = await shutdown.finished;
    assertEquals(report.waitUntil, [{ name: "mail", ms: 0, error: "smtp" }]);
    assertEquals(report.exitCode, 1);
  });

  test("that never settles is named", async () => {
    const { clock, shutdown } = setup({ cleanupTimeout: 100 });
    shutdown.waitUntil(never());
    shutdown.begin();
    await clock.advance(100);
    const report = await shutdown.finished;
    assertEquals(report.waitUntil, [
      { name: "work", ms: 100, error: "timed out" },
    ]);
    assertEquals(report.outcome, "timeout");
  });

  test("handed in by a hook is awaited too", async () => {
    const { clock, shutdown } = setup();
    shutdown.onClose("writer", () => {
      shutdown.waitUntil(
        new Promise<void>((resolve) => clock.after(50, resolve)),
        "flush",
      );
    });
    shutdown.begin();
    await clock.advance(50);
    const report = await shutdown.finished;
    assertEquals(report.waitUntil, [{ name: "flush", ms: 50 }]);
  });
});

describe("the report", () => {
  test("is the last line of the log, its errors as text", async () => {
    const { entries, shutdown } = setup();
    shutdown.onClose("bad", () => Promise.reject(new Error("no")));
    const report = await shutdown.begin("SIGTERM");
    assertEquals(entries.at(-1), {
      level: "error",
      message: "shutdown finished",
      ...report,
      errors: ["no"],
    });
    assertEquals(Object.keys(report).slice(0, 3), [
      "reason",
      "outcome",
      "exitCode",
    ]);
  });
});
