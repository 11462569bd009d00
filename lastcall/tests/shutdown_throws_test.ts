/** C6: whatever an adapter throws, everything after it runs, and the report comes. */
import { assert, assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import type { Listener } from "../../runtimes/runtime.ts";
import type { LogEntry } from "../log.ts";
import { ShutdownController, type ShutdownOptions } from "../shutdown.ts";
import { FakeClock, settle } from "../testing/fake_clock.ts";
import { FakeServer } from "../testing/fake_server.ts";

const stuck = { method: "GET", url: "/never", since: -4000 };
const cut = { method: "GET", path: "/never", ageMs: 4000 };

function setup(options: ShutdownOptions = {}, clock = new FakeClock()) {
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const shutdown = new ShutdownController({ log, ...options }, clock);
  const ran: string[] = [];
  shutdown.onClose("hook", () => void ran.push("hook"));
  shutdown.job("job", async (signal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    ran.push("job");
  });
  const failing = new FakeServer("failing");
  const sound = new FakeServer("sound");
  shutdown.attach(failing, failing.sockets);
  shutdown.attach(sound, sound.sockets);
  return { clock, entries, shutdown, ran, failing, sound };
}

type Method = Exclude<keyof Listener, "hostname" | "port"> | "openSockets";

/** The first call throws, or all of them do; `close` and `cut` may reject. */
function breakIt(server: FakeServer, method: Method, how: string) {
  const sound = method === "openSockets"
    ? () => 0
    : server[method].bind(server) as (...args: unknown[]) => unknown;
  let calls = 0;
  const broken = (...args: unknown[]): unknown => {
    if (how === "the first time" && calls++ > 0) return sound(...args);
    const error = new Error(`${method} broke`);
    if (how === "by a rejection") return Promise.reject(error);
    throw error;
  };
  if (method === "openSockets") {
    Object.defineProperty(server.sockets, "size", { get: broken });
  } else Object.assign(server, { [method]: broken });
}

const cases: [method: Method, how: string][] = [
  ...(["countAnswers", "inFlight", "openSockets", "answered"] as const)
    .flatMap((method): [Method, string][] => [
      [method, "the first time"],
      [method, "always"],
    ]),
  ["close", "always"],
  ["close", "by a rejection"],
  ["cut", "always"],
  ["cut", "by a rejection"],
];

for (const [method, how] of cases) {
  describe(`a server whose ${method}() throws, ${how},`, () => {
    const expected = `${method} broke`;

    test("is in the report of a drain; all else runs", async () => {
      const { shutdown, ran, failing, sound, clock } = setup();
      breakIt(failing, method, how);
      failing.requests = sound.requests = [stuck];
      shutdown.begin();
      await settle();
      assertEquals(shutdown.phase, "closing", "the sound one is waited for");
      sound.drained();
      failing.drained();
      const report = await shutdown.finished;
      assertEquals(ran, ["job", "hook"]);
      assertEquals(sound.calls, ["countAnswers", "close 250"]);
      assertEquals(clock.waiting, 0);
      // Nothing had to be cut.
      if (method === "cut") return assertEquals(report.outcome, "clean");
      assertEquals(report.outcome, "failed");
      assertEquals(report.exitCode, 1);
      assert(report.errors.length > 0);
      for (const { message } of report.errors) assertEquals(message, expected);
      if (method === "close") {
        assertEquals(failing.calls, ["countAnswers", "cut"]);
        assertEquals(report.requests.cut, [cut]);
      }
    });

    test("is in the report of a deadline; all else is cut", async () => {
      const { shutdown, ran, failing, sound, clock } = setup({
        drainDelay: 100,
        drainTimeout: 1000,
      });
      breakIt(failing, method, how);
      failing.requests = sound.requests = [stuck];
      shutdown.begin();
      await clock.advance(1100);
      const report = await shutdown.finished;
      assertEquals(ran, ["job", "hook"]);
      assertEquals(sound.calls, ["countAnswers", "close 250", "cut"]);
      assertEquals(report.outcome, "timeout");
      assertEquals(report.exitCode, 1);
      assert(report.errors.some(({ message }) => message === expected));
      assert(report.requests.cut.length >= 1);
      assertEquals(clock.waiting, 0);
    });

    test("is in the report of a force", async () => {
      const { shutdown, ran, failing, sound, clock } = setup();
      breakIt(failing, method, how);
      failing.requests = sound.requests = [stuck];
      shutdown.begin();
      await settle();
      shutdown.force();
      await clock.advance(0);
      const report = await shutdown.finished;
      assertEquals(ran, ["job", "hook"]);
      assertEquals(sound.calls.at(-1), "cut");
      assertEquals(report.outcome, "forced");
      assertEquals(report.exitCode, 1);
      assert(report.errors.some(({ message }) => message === expected));
    });
  });
}

/** Fails from some moment on. */
class BrokenClock extends FakeClock {
  broken: "now" | "after" | undefined;
  override now(): number {
    if (this.broken === "now") throw new Error("no time");
    return super.now();
  }
  override after(ms: number, then: () => void): () => void {
    if (this.broken === "after") throw new Error("no timers");
    return super.after(ms, then);
  }
}

describe("a clock", () => {
  for (const broken of ["now", "after"] as const) {
    test(`whose ${broken}() throws is in the report once; all else runs`, async () => {
      const clock = new BrokenClock();
      const { shutdown, ran, failing, sound } = setup({}, clock);
      shutdown.begin();
      await settle();
      clock.broken = broken;
      failing.drained();
      sound.drained();
      const report = await shutdown.finished;
      assertEquals(ran, ["job", "hook"]);
      assertEquals(report.exitCode, 1);
      assertEquals(report.errors.length, 1);
    });

    test(`whose ${broken}() throws from the beginning holds nothing`, async () => {
      const clock = new BrokenClock();
      clock.broken = broken;
      const { shutdown, ran, failing, sound } = setup({}, clock);
      failing.drained();
      sound.drained();
      const report = await shutdown.begin();
      assertEquals(ran, ["job", "hook"]);
      assertEquals(report.exitCode, 1);
    });
  }
});

describe("a log", () => {
  for (const how of ["throws", "rejects"]) {
    test(`that ${how} with every line holds nothing`, async () => {
      const log = (): void => {
        const error = new Error("disk full");
        if (how === "throws") throw error;
        return Promise.reject(error) as unknown as void;
      };
      const { shutdown, ran, failing, sound } = setup({ log });
      failing.drained();
      sound.drained();
      const report = await shutdown.begin();
      assertEquals(ran, ["job", "hook"]);
      assertEquals(report.outcome, "clean");
    });
  }
});

describe("an error", () => {
  const odd: [string, () => unknown][] = [
    [
      "whose message throws",
      () =>
        Object.defineProperty(new Error(), "message", {
          get() {
            throw new Error("no words");
          },
        }),
    ],
    [
      "whose message is none",
      () => Object.assign(new Error(), { message: 7n }),
    ],
    ["that is a revoked proxy", () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    }],
  ];
  for (const [what, make] of odd) {
    test(`${what} is one all the same`, async () => {
      const { shutdown, ran, failing, sound } = setup();
      shutdown.onClose("odd", () => {
        throw make();
      });
      shutdown.waitUntil(
        Promise.resolve().then(() => settle()).then(() => {
          throw make();
        }),
      );
      failing.drained();
      sound.drained();
      shutdown.begin();
      const report = await shutdown.finished;
      assertEquals(ran, ["job", "hook"]);
      assertEquals(report.exitCode, 1);
      assertEquals(report.errors.length, 2);
    });
  }
});
