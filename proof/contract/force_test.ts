/** The force: clauses F of lastcall/CONTRACT.md, against real processes. */
import { assert, assertEquals } from "@std/assert";
import { clause } from "../support/clause.ts";
import {
  assertWithin,
  delay,
  ended,
  endedClean,
  postHead,
} from "../support/expect.ts";
import { text } from "../support/raw_client.ts";
import { upgradeBytes } from "../support/raw_websocket.ts";
import { ServerProcess, startFixture } from "../support/server_process.ts";

clause(
  "F1",
  "at the deadline what is left is cut and named, cleanup still runs, exit 1",
  async () => {
    const server = await startFixture({
      DRAIN_TIMEOUT_MS: 700,
      HOOKS: "db:ok",
    });
    const [never, upload, slow] = [
      await server.connect(),
      await server.connect(),
      await server.connect(),
    ];
    void never.send("GET", "/never?token=secret");
    void upload.write(postHead("/upload?token=secret", 10) + "12345");
    const answer = slow.get("/slow?ms=300");
    await server.event("handling", { path: "/never" });
    await server.event("handling", { path: "/upload" });
    await server.event("handling", { path: "/slow" });
    server.signal("SIGTERM");
    assertEquals(text(await answer), "slow but whole");
    const { exit, report } = await ended(server, 1);
    await Promise.all([never.closed, upload.closed]);

    assert(exit.msSinceSignal >= 690, "the deadline was not kept");
    assertWithin(exit.msSinceSignal, 1400, "the deadline");
    assertEquals(report.outcome, "timeout");
    assertEquals(report.requests.inFlight, 3);
    assertEquals(report.requests.completed, 1);
    const lines = server.printed("request cut");
    assertEquals(lines.map(({ json }) => json?.level), ["warn", "warn"]);
    for (const named of [lines.map(({ json }) => json), report.requests.cut]) {
      const cut = named.map((request) =>
        request as { method: string; path: string; ageMs: number }
      ).toSorted((a, b) => a.method < b.method ? -1 : 1);
      assertEquals(
        cut.map(({ method, path }) => `${method} ${path}`),
        ["GET /never", "POST /upload"],
      );
      for (const { ageMs } of cut) {
        assert(ageMs >= 500 && ageMs < 3000, `ageMs is ${ageMs}`);
      }
    }
    assertEquals(report.hooks.map(({ name }) => name), ["db"]);
    assertEquals(server.printed("hook done").length, 1);

    const upgrading = await startFixture({ DRAIN_TIMEOUT_MS: 300 });
    const client = await upgrading.connect();
    await client.write(upgradeBytes("/never"));
    await upgrading.event("handling", { path: "/never" });
    upgrading.signal("SIGTERM");
    const { report: { requests } } = await ended(upgrading, 1);
    assertEquals(requests.inFlight, 1);
    assertEquals(requests.cut.map(({ path }) => path), ["/never"]);
    await client.closed;
  },
);

clause(
  "F2",
  "a second signal forces at once, hooks get one last second, exit 1",
  async ({ step }) => {
    const twice = async (
      env: Record<string, string | number>,
      second: "SIGTERM" | "SIGINT",
      limit: number,
      hooks: string[],
    ) => {
      const server = await startFixture({
        DRAIN_TIMEOUT_MS: 20_000,
        CLEANUP_TIMEOUT_MS: 20_000,
        ...env,
      });
      const client = await server.connect();
      void client.send("GET", "/never");
      await server.event("handling");
      server.signal("SIGTERM");
      await delay(600); // beyond half a second, so not the same signal
      assertEquals(server.exit, undefined, "it did not wait");
      server.signal(second);
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "forced");
      assertWithin(exit.msSinceSignal, limit, "the force");
      assertEquals(
        report.requests.cut.map(({ method, path }) => [method, path]),
        [["GET", "/never"]],
      );
      assertEquals(server.printed("request cut").length, 1);
      assertEquals(
        server.printed("hook").map(({ json }) => json?.name),
        hooks,
      );
      await client.closed;
    };

    await step(
      "the same signal again",
      () => twice({ HOOKS: "db:ok" }, "SIGTERM", 400, ["db"]),
    );
    await step(
      "another signal",
      () => twice({ HOOKS: "db:ok" }, "SIGINT", 400, ["db"]),
    );
    await step(
      "with a hook that never settles",
      () =>
        twice({ HOOKS: "db:ok,queue:hang" }, "SIGTERM", 1500, ["queue", "db"]),
    );

    await step("while a hook hangs", async () => {
      const server = await startFixture({
        HOOKS: "queue:hang",
        CLEANUP_TIMEOUT_MS: 20_000,
      });
      server.signal("SIGTERM");
      await server.event("hook", { name: "queue" });
      await delay(600);
      server.signal("SIGTERM");
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "forced");
      assertWithin(exit.msSinceSignal, 1500, "the force");
    });
  },
);

clause(
  "F3",
  "the same signal repeated within half a second is one signal",
  async ({ step }) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      await step(name, async () => {
        const server = await startFixture();
        const client = await server.connect();
        const slow = client.get("/slow?ms=800");
        await server.event("handling");
        server.signal(name);
        await delay(3);
        server.signal(name); // what `bun run` and `deno task` do
        await delay(300);
        server.signal(name); // what an impatient finger does
        assertEquals(text(await slow), "slow but whole");
        const { report } = await endedClean(server);
        assertEquals(report.reason, name);
        assertEquals(server.printed("shutdown began").length, 1);
      });
    }

    // A quiet server is gone within milliseconds: the second half of the Ctrl-C
    // finds it on its way out.
    for (const gap of [0, 1, 2, 3, 4, 5, 6, 8]) {
      await step(`SIGINT ${gap} ms apart, and nothing to drain`, async () => {
        const server = await startFixture();
        server.signal("SIGINT");
        await delay(gap);
        if (!server.exit) server.signal("SIGINT");
        await endedClean(server);
      });
    }

    await step("SIGINT again, when the report is out", async () => {
      const server = await startFixture({ NO_EXIT: 1, LINGERS_MS: 200 });
      server.signal("SIGINT");
      await server.logged("shutdown finished");
      server.signal("SIGINT");
      await endedClean(server);
    });
  },
);

clause(
  "F4",
  "a hook or a job that never settles is named and cannot keep the process",
  async ({ step }) => {
    const overdue = async (
      env: Record<string, string | number>,
      message: string,
      name: string,
      kind: "hooks" | "jobs" | "waitUntil",
      before: (server: ServerProcess) => Promise<unknown> = async () => {},
    ) => {
      const server = await startFixture({ CLEANUP_TIMEOUT_MS: 400, ...env });
      await before(server);
      server.signal("SIGTERM");
      const line = await server.logged(message, { name });
      assertEquals(line.json?.level, "error");
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "timeout");
      assertWithin(exit.at - line.at, 1300, "the end after the timeout");
      const record = report[kind].find((record) => record.name === name);
      assert(record?.error, `${kind} of the report do not blame ${name}`);
    };

    await step(
      "a hook",
      () =>
        overdue({ HOOKS: "queue:hang" }, "hook timed out", "queue", "hooks"),
    );
    await step(
      "a job",
      () => overdue({ JOBS: "stuck:hang" }, "job timed out", "stuck", "jobs"),
    );
    await step(
      "waitUntil",
      () =>
        overdue(
          {},
          "waitUntil timed out",
          "after-work",
          "waitUntil",
          async (s) => {
            const client = await s.connect();
            await client.get("/wait-until?ms=60000");
          },
        ),
    );
    await step("a hook keeps no other from its chance", async () => {
      const env = { HOOKS: "db:ok,queue:hang", CLEANUP_TIMEOUT_MS: 400 };
      const server = await startFixture(env);
      server.signal("SIGTERM");
      await ended(server, 1);
      assertEquals(server.printed("hook done")[0]?.json?.name, "db");
    });
  },
);
