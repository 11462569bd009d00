import { assert, assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import { Checks, health } from "../health.ts";
import type { LogEntry } from "../log.ts";
import { ShutdownController } from "../shutdown.ts";
import { FakeClock, settle } from "../testing/fake_clock.ts";
import { FakeServer } from "../testing/fake_server.ts";

/** What the public sees of a controller that serves. */
function setup() {
  const clock = new FakeClock();
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => void entries.push(entry);
  const shutdown = new ShutdownController({ log }, clock);
  const server = new FakeServer();
  shutdown.attach(server, server.sockets);
  const checks = new Checks(shutdown);
  return {
    app: health(shutdown, { checks }),
    checks,
    clock,
    entries,
    shutdown,
  };
}

const never = () => new Promise<never>(() => {});

async function ask(app: ReturnType<typeof setup>["app"], path = "/readyz") {
  const response = await app.request(path);
  assertEquals(response.headers.get("Cache-Control"), "no-store");
  return [response.status, await response.json()];
}

describe("readiness", () => {
  test("is red until the server serves", async () => {
    const { shutdown } = setup();
    assertEquals(shutdown.phase, "serving");
    const starting = { ...shutdown, phase: "starting" } as typeof shutdown;
    const response = await health(starting).request("/readyz");
    assertEquals(response.status, 503);
  });

  test("is green while every check passes, and says no more", async () => {
    const { app, checks } = setup();
    checks.add("database", () => "pong");
    checks.add("queue", async () => await Promise.resolve());
    assertEquals(await ask(app), [200, { status: "serving" }]);
  });

  const failures: [string, () => unknown, string][] = [
    ["throws", () => {
      throw new Error("no route to host");
    }, "no route to host"],
    ["rejects", () => Promise.reject("refused"), "refused"],
  ];
  for (const [how, run, error] of failures) {
    test(`is red when a check ${how}; only the admin hears which`, async () => {
      const { app, checks, shutdown } = setup();
      checks.add("cache", () => {});
      checks.add("database", run);
      assertEquals(await ask(app), [503, { status: "failing" }]);
      const admin = health(shutdown, { checks, detail: true });
      const response = await admin.request("/readyz");
      assertEquals(response.status, 503);
      assertEquals(await response.json(), {
        status: "failing",
        checks: {
          cache: { ok: true, ms: 0 },
          database: { ok: false, ms: 0, error },
        },
      });
    });
  }

  test("each check has its own time limit, and hears when it is over", async () => {
    const { app, checks, clock, shutdown } = setup();
    const told: string[] = [];
    const hang = (name: string) => (signal: AbortSignal) => {
      signal.addEventListener("abort", () => told.push(name));
      return never();
    };
    checks.add("slow", hang("slow"), { timeout: 200 });
    checks.add("slower", hang("slower"));
    const asked = health(shutdown, { checks, detail: true }).request("/readyz");
    const publicly = ask(app);
    await clock.advance(200);
    assertEquals(told, ["slow"]);
    await clock.advance(800);
    assertEquals(told, ["slow", "slower"]);
    assertEquals(await (await asked).json(), {
      status: "failing",
      checks: {
        slow: { ok: false, ms: 200, error: "not done after 200 ms" },
        slower: { ok: false, ms: 1000, error: "not done after 1000 ms" },
      },
    });
    assertEquals(await publicly, [503, { status: "failing" }]);
    assertEquals(clock.waiting, 0);
  });

  test("who asks while a check runs gets its answer, not another run", async () => {
    const { app, checks } = setup();
    let runs = 0;
    let pass = () => {};
    checks.add("database", () => {
      runs++;
      return new Promise<void>((resolve) => pass = resolve);
    });
    const both = [ask(app), ask(app)];
    await settle();
    pass();
    for (const asked of both) {
      assertEquals(await asked, [200, { status: "serving" }]);
    }
    assertEquals(runs, 1);
    const again = ask(app);
    await settle();
    pass();
    await again;
    assertEquals(runs, 2);
  });

  test("is red from the moment of the shutdown, whatever the checks say", async () => {
    const { app, checks, shutdown } = setup();
    let runs = 0;
    let pass = () => {};
    checks.add("database", () => {
      runs++;
      return new Promise<void>((resolve) => pass = resolve);
    });
    const before = ask(app);
    await settle();
    shutdown.begin();
    pass();
    assertEquals((await before)[0], 503);
    assertEquals(await ask(app), [503, { status: shutdown.phase }]);
    assertEquals(runs, 1, "nobody asks a database that is about to close");
    assertEquals(await ask(app, "/livez"), [200, { status: "live" }]);
  });

  test("the log hears once that a check fails, and once that it recovered", async () => {
    const { app, checks, entries } = setup();
    let works = false;
    checks.add("database", () => {
      if (!works) throw new Error("no route to host");
    });
    await ask(app);
    await ask(app);
    works = true;
    await ask(app);
    await ask(app);
    assertEquals(
      entries.map(({ level, message, name, error }) => [
        level,
        message,
        name,
        error,
      ]),
      [
        ["warn", "check failed", "database", "no route to host"],
        ["info", "check recovered", "database", undefined],
      ],
    );
    assert(works);
  });
});
