import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { describe, test } from "node:test";
import { Hono } from "hono";
import type { ListenFailure, Setting } from "../../runtimes/runtime.ts";
import type { LogEntry } from "../log.ts";
import { watchProcess } from "../process.ts";
import { run } from "../run.ts";
import { serve } from "../serve.ts";
import { ShutdownController, type ShutdownOptions } from "../shutdown.ts";
import { StartError } from "../start_error.ts";
import { FakeClock, settle } from "../testing/fake_clock.ts";
import { FakeRuntime } from "../testing/fake_runtime.ts";

const app = { fetch: () => new Response("hello") };

function setup(options: ShutdownOptions = {}) {
  const clock = new FakeClock();
  const runtime = new FakeRuntime();
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const shutdown = new ShutdownController({ log, ...options }, clock);
  return { clock, runtime, entries, shutdown };
}

describe("serve", () => {
  test("resolves with where it listens, and says so once", async () => {
    const { runtime, entries, shutdown } = setup();
    const server = await serve(runtime, app, { port: 0, shutdown });
    assertEquals(server.url, "http://localhost:4321");
    assertEquals(server.port, 4321);
    assertEquals(server.runtime, "node 20.1.0");
    assertEquals(shutdown.phase, "serving");
    assertEquals(entries, [{
      level: "info",
      message: "server listening",
      url: "http://localhost:4321",
      runtime: "node 20.1.0",
    }]);
  });

  for (
    const [hostname, url] of [
      ["127.0.0.1", "http://127.0.0.1:80"],
      ["::", "http://localhost:80"],
      ["::1", "http://[::1]:80"],
      ["example.test", "http://example.test:80"],
    ]
  ) {
    test(`on ${hostname} has the URL ${url}`, async () => {
      const { runtime, shutdown } = setup();
      const options = { hostname: hostname!, port: 80, shutdown };
      assertEquals((await serve(runtime, app, options)).url, url);
    });
  }

  test("refuses a controller that is shutting down", async () => {
    const { runtime, shutdown } = setup();
    shutdown.begin();
    await assertRejects(
      () => serve(runtime, app, { shutdown }),
      StartError,
      "already shutting down",
    );
    assertEquals(runtime.listeners, []);
  });

  test("refuses when the shutdown begins while it starts to listen", async () => {
    const { runtime, shutdown } = setup();
    let ready = () => {};
    runtime.ready = new Promise((resolve) => ready = resolve);
    const serving = serve(runtime, app, { shutdown });
    shutdown.begin();
    ready();
    await assertRejects(() => serving, StartError);
    assert(runtime.listeners[0]?.wasCut);
  });

  const sentences: [ListenFailure, string, Setting[]][] = [
    [
      "in use",
      "Port 3000 on 0.0.0.0 is in use by another process; stop",
      ["port"],
    ],
    [
      "not ours",
      "0.0.0.0 is not an address of this machine; choose one",
      ["hostname"],
    ],
    [
      "denied",
      "This process may not listen on port 3000 of 0.0.0.0; choose",
      ["port"],
    ],
    ["other", "Could not listen on port 3000 of 0.0.0.0: E-CODE.", []],
  ];
  for (const [failure, sentence, settings] of sentences) {
    test(`says in one sentence that a socket is ${failure}`, async () => {
      const { runtime, shutdown } = setup();
      runtime.failure = failure;
      const error = await assertRejects(
        () => serve(runtime, app, { shutdown }),
        StartError,
        sentence,
      );
      assertEquals(error.settings, settings);
    });
  }

  test("puts several servers under one controller", async () => {
    const { runtime, shutdown } = setup();
    await serve(runtime, app, { port: 1, shutdown });
    await serve(runtime, app, { port: 2, shutdown });
    await shutdown.begin();
    assertEquals(runtime.listeners.map(({ closed }) => closed), [true, true]);
  });

  test("takes an app that is an instance of a class", async () => {
    class Greeter {
      #greeting = "hello";
      fetch() {
        return new Response(this.#greeting);
      }
    }
    const { runtime, shutdown } = setup();
    await serve(runtime, new Greeter(), { shutdown });
    const response = await runtime.fetch!(new Request("http://h/"));
    assertEquals(await response.text(), "hello");
  });

  test("gives the app an execution context, whose work is awaited", async () => {
    const { runtime, shutdown } = setup();
    let done = () => {};
    const app = new Hono().get("/", (c) => {
      c.executionCtx.passThroughOnException();
      c.executionCtx.waitUntil(new Promise<void>((r) => done = r));
      return c.text("hello");
    });
    await serve(runtime, app, { shutdown });
    await runtime.fetch!(new Request("http://h/"));
    shutdown.begin();
    await settle();
    assertEquals(shutdown.phase, "cleanup");
    done();
    const report = await shutdown.finished;
    assertEquals(report.waitUntil.map(({ name }) => name), ["work"]);
  });

  test("for ever is as long as a timer can count", async () => {
    const { runtime, shutdown } = setup();
    const limits = { idleTimeout: Infinity, writeTimeout: 5 };
    await serve(runtime, app, { shutdown, limits });
    const { idleTimeout, writeTimeout, connections } = runtime.limits!;
    assertEquals([idleTimeout, writeTimeout, connections], [
      2 ** 31 - 1,
      5,
      Infinity,
    ]);
  });

  test("blames a stuck request by method, path and age, no query", async () => {
    const { clock, runtime, shutdown } = setup({ drainTimeout: 1000 });
    await serve(runtime, app, { shutdown });
    const since = clock.now() - 4000;
    runtime.listeners[0]!.requests = [
      { method: "GET", url: "http://h:1/never?token=secret", since },
      { method: "POST", url: "/a/b#c?d", since: clock.now() + 60_000 },
      { method: "GET", url: "http://h", since },
    ];
    shutdown.begin();
    await clock.advance(1000);
    const { requests } = await shutdown.finished;
    assertEquals(requests.cut.map(({ method, path }) => [method, path]), [
      ["GET", "/never"],
      ["POST", "/a/b"],
      ["GET", "/"],
    ]);
    assertEquals(requests.cut.map(({ ageMs }) => ageMs), [5000, 0, 5000]);
  });
});

describe("signals", () => {
  test("SIGINT, SIGTERM, SIGHUP and SIGBREAK begin the shutdown, by name", async () => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"]) {
      const { runtime, shutdown } = setup();
      await serve(runtime, app, { shutdown });
      runtime.raise(signal);
      const report = await shutdown.finished;
      assertEquals(report.reason, signal);
      assertEquals(report.exitCode, 0);
    }
  });

  test("other signals can be chosen", async () => {
    const { runtime, shutdown } = setup();
    await serve(runtime, app, { shutdown, signals: ["SIGUSR2"] });
    assertEquals([...runtime.signals.keys()], ["SIGUSR2"]);
  });

  test("what no process hears, or is no signal, is refused", async () => {
    for (const signal of ["SIGKILL", "SIGSTOP", "SIGTREM", "TERM", ""]) {
      const { runtime, shutdown } = setup();
      const error = await assertRejects(
        () => serve(runtime, app, { shutdown, signals: ["SIGTERM", signal] }),
        StartError,
      );
      assertMatch(
        error.message,
        new RegExp(`^signals has "${signal}"; expected any of SIGINT, .+\\.$`),
      );
      assertEquals(runtime.heard, 0);
    }
  });

  test("where none is chosen, uncaught errors are another's too", async () => {
    const { runtime, shutdown } = setup();
    await serve(runtime, app, { shutdown, signals: [] });
    assertEquals(runtime.heard, 0);
  });

  test("are listened to once, however many servers there are", async () => {
    const { runtime, shutdown } = setup();
    await serve(runtime, app, { port: 1, shutdown });
    await serve(runtime, app, { port: 2, shutdown });
    assertEquals(runtime.heard, 5);
  });

  test("repeated within half a second are one signal", async () => {
    const { clock, runtime, shutdown } = setup();
    watchProcess(runtime, shutdown, ["SIGINT"]);
    await serve(runtime, app, { shutdown });
    runtime.listeners[0]!.requests = [
      { method: "GET", url: "/", since: performance.now() },
    ];
    runtime.raise("SIGINT");
    await clock.advance(5);
    runtime.raise("SIGINT");
    await clock.advance(494);
    runtime.raise("SIGINT");
    await settle();
    assertEquals(shutdown.phase, "closing");
    await clock.advance(1);
    runtime.raise("SIGINT");
    const report = await shutdown.finished;
    assertEquals(report.outcome, "forced");
    assertEquals(report.exitCode, 1);
  });

  test("are heard for a while after the end, and then no more", async () => {
    const { clock, runtime, shutdown } = setup();
    await serve(runtime, app, { shutdown });
    runtime.raise("SIGINT");
    assertEquals((await shutdown.finished).outcome, "clean");
    await settle();
    assertEquals(runtime.uncaught.size, 0);
    assertEquals(runtime.heard, 4);
    runtime.raise("SIGINT");
    assertEquals((await shutdown.finished).outcome, "clean");
    await clock.advance(500);
    assertEquals(runtime.heard, 0);
  });
});

describe("an uncaught error", () => {
  test("is logged and shuts down gracefully with exit code 1", async () => {
    const { runtime, entries, shutdown } = setup();
    await serve(runtime, app, { shutdown });
    const error = new Error("nobody caught me");
    runtime.uncaught.forEach((listener) => listener(error));
    const report = await shutdown.finished;
    assertEquals(report.errors, [error]);
    assertEquals(report.exitCode, 1);
    const logged = entries.find((e) => e.message === "uncaught error");
    assertEquals(logged?.error, "nobody caught me");
    assertEquals(logged?.stack, error.stack);
    assertEquals(runtime.exitCode, 1);
  });

  test("that says why the start failed does so in a sentence", async () => {
    const { runtime, entries, shutdown } = setup();
    watchProcess(runtime, shutdown);
    const error = new StartError("Port 3000 is in use.");
    runtime.uncaught.forEach((listener) => listener(error));
    assertEquals((await shutdown.finished).exitCode, 1);
    const logged = entries.find((e) => e.message === "uncaught error");
    assertEquals(logged?.error, error.message);
    assertEquals(logged?.stack, undefined);
  });
});

describe("run", () => {
  test("takes the signals that begin the shutdown", async () => {
    const { runtime, shutdown } = setup();
    const finished = run(
      runtime,
      shutdown,
      () => serve(runtime, app, { shutdown }).then(() => {}),
      { signals: ["SIGQUIT"] },
    );
    await settle();
    assertEquals([...runtime.signals.keys()], ["SIGQUIT"]);
    runtime.raise("SIGQUIT");
    assertEquals((await finished).reason, "SIGQUIT");
  });

  test("listens for signals before the start", async () => {
    const { runtime, shutdown } = setup();
    let heard = 0;
    const report = await run(runtime, shutdown, () => {
      heard = runtime.heard;
      shutdown.begin();
      return Promise.resolve();
    });
    assertEquals(heard, 5);
    assertEquals(report.exitCode, 0);
  });

  test("a start that fails closes what it opened: exit code 1", async () => {
    const { runtime, entries, shutdown } = setup();
    let closed = false;
    runtime.failure = "in use";
    const report = await run(runtime, shutdown, async () => {
      shutdown.onClose("database", () => {
        closed = true;
      });
      await serve(runtime, app, { shutdown });
    });
    assert(closed);
    assertEquals(report.exitCode, 1);
    assertEquals(report.reason, "start-up failed");
    const failed = entries.find((e) => e.message === "start-up failed");
    assert(String(failed?.error).startsWith("Port 3000"));
    assertEquals(failed?.stack, undefined);
  });

  test("a start that a signal interrupts is no failure", async () => {
    const { runtime, shutdown } = setup();
    let closed = false;
    const finished = run(runtime, shutdown, async () => {
      await new Promise((_, reject) => {
        shutdown.onClose("half a database", () => {
          closed = true;
        });
        shutdown.signal.addEventListener(
          "abort",
          () => reject(shutdown.signal.reason),
        );
      });
      await serve(runtime, app, { shutdown });
    });
    await settle();
    runtime.raise("SIGTERM");
    const report = await finished;
    assert(closed);
    assertEquals(report.exitCode, 0);
    assertEquals(runtime.listeners, []);
  });

  test("a start that goes on regardless is awaited, then closed", async () => {
    const { clock, runtime, shutdown } = setup();
    let closed = false;
    const finished = run(runtime, shutdown, async () => {
      await new Promise<void>((resolve) => clock.after(3000, resolve));
      shutdown.onClose("database", () => {
        closed = true;
      });
      await serve(runtime, app, { shutdown });
    });
    await clock.advance(1000);
    runtime.raise("SIGTERM");
    await clock.advance(2000);
    const report = await finished;
    assert(closed);
    assertEquals(report.exitCode, 0);
    assertEquals(runtime.listeners, []);
  });

  for (const version of ["18.20.1", "19.9.0"]) {
    test(`says in one sentence that ${version} is too old`, async () => {
      const { runtime, entries, shutdown } = setup();
      runtime.version = version;
      let started = false;
      const report = await run(runtime, shutdown, () => {
        started = true;
        return Promise.resolve();
      });
      assertEquals(started, false);
      assertEquals(report.exitCode, 1);
      assertEquals(
        entries.find((e) => e.message === "start-up failed")?.error,
        `This is node ${version}; lastcall needs node 20.0.0 or later.`,
      );
    });
  }
});
