/** The cleanup: clauses C of lastcall/CONTRACT.md, against real processes. */
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { clause } from "../support/clause.ts";
import { assertWithin, ended, endedClean } from "../support/expect.ts";
import { text } from "../support/raw_client.ts";
import {
  commandFor,
  fixture,
  scratchFolder,
  ServerProcess,
  startFixture,
} from "../support/server_process.ts";

clause(
  "C1",
  "requests end first, then jobs and waitUntil, then hooks in reverse order",
  async () => {
    const server = await startFixture({
      HOOKS: "first:ok,second:50,third:ok",
      JOBS: "ticker:ok,mailer:ok",
    });
    const [slow, quick] = [await server.connect(), await server.connect()];
    const response = slow.get("/slow?ms=500");
    await server.event("handling", { path: "/slow" });
    await quick.get("/wait-until?ms=900");
    server.signal("SIGTERM");
    assertEquals(text(await response), "slow but whole");
    const { report } = await endedClean(server);

    const order = server.lines.map(({ json }) =>
      json?.event === "handled" && json.path === "/slow" ? "request" : [
          "job told",
          "job done",
          "waited",
          "context waited",
          "hook",
          "hook done",
        ].includes(
          String(json?.event),
        )
        ? [json?.event, json?.name].filter(Boolean).join(" ")
        : ""
    ).filter(Boolean);
    const at = (what: string) => {
      assert(order.includes(what), `no "${what}" among ${order.join(", ")}`);
      return order.indexOf(what);
    };
    assertEquals(at("request"), 0);
    for (const job of ["ticker", "mailer"]) {
      assert(at(`job told ${job}`) > at("request"), "a job ended too early");
      assert(at(`job done ${job}`) < at("hook third"), "a job was not awaited");
    }
    for (const waited of ["waited", "context waited"]) {
      assert(at(waited) < at("hook third"), "waitUntil was not awaited");
    }
    assertEquals(order.slice(at("hook third")), [
      ...["hook third", "hook done third"],
      ...["hook second", "hook done second"],
      ...["hook first", "hook done first"],
    ]);
    const names = (records: { name: string }[]) =>
      records.map(({ name }) => name).toSorted();
    assertEquals(names(report.jobs), ["mailer", "ticker"]);
    // Hono's own way, `c.executionCtx.waitUntil`, has no name for it.
    for (const name of ["after-work", "work"]) {
      assert(names(report.waitUntil).includes(name), name);
    }
    assertEquals(report.hooks.map(({ name }) => name), [
      "third",
      "second",
      "first",
    ]);
    assert((report.hooks[1]?.ms ?? 0) >= 45, "the second hook took 50 ms");
  },
);

clause(
  "C2",
  "a hook that throws stops no other, every error is reported, exit 1",
  async () => {
    const server = await startFixture({
      HOOKS: "a:ok,b:throw,c:ok,d:throw",
      JOBS: "mailer:throw",
    });
    server.signal("SIGTERM");
    const { report } = await ended(server, 1);
    assertEquals(report.outcome, "failed");
    assertEquals(
      server.printed("hook").map(({ json }) => json?.name),
      ["d", "c", "b", "a"],
    );
    assertEquals(report.errors.toSorted(), [
      "b would not close",
      "d would not close",
      "mailer broke",
    ]);
    assertEquals(
      report.hooks.map(({ name, error }) => [name, error]),
      [
        ["d", "d would not close"],
        ["c", undefined],
        ["b", "b would not close"],
        ["a", undefined],
      ],
    );
    assertEquals(report.jobs[0]?.error, "mailer broke");
    for (const name of ["b", "d"]) {
      const { json } = await server.logged("hook failed", { name });
      assertEquals(json?.error, `${name} would not close`);
    }
    await server.logged("job failed", { name: "mailer" });
  },
);

clause(
  "C3",
  "an uncaught error or an unhandled rejection is logged and shuts down gracefully with exit 1",
  async ({ step }) => {
    const cases = [
      ["/throw-later", "thrown later"],
      ["/reject-later", "rejected later"],
    ];
    for (const [path = "", error] of cases) {
      await step(path, async () => {
        const server = await startFixture({ HOOKS: "db:ok" });
        const [busy, bad] = [await server.connect(), await server.connect()];
        const slow = busy.get("/slow?ms=600");
        await server.event("handling", { path: "/slow" });
        assertEquals(text(await bad.get(path)), "watch out");
        const { json } = await server.logged("uncaught error", { error });
        assertMatch(String(json?.stack), /fixture/, "where it came from");
        assertEquals(text(await slow), "slow but whole");
        const { report } = await ended(server, 1);
        assertEquals(report.outcome, "failed");
        assertEquals(report.errors, [error]);
        assertEquals(report.requests.cut, []);
        assertEquals(report.hooks.map(({ name }) => name), ["db"]);
      });

      await step(`${path} while draining`, async () => {
        const server = await startFixture({ DRAIN_DELAY_MS: 300 });
        const [busy, bad] = [await server.connect(), await server.connect()];
        const slow = busy.get("/slow?ms=600");
        await server.event("handling", { path: "/slow" });
        server.signal("SIGTERM");
        await server.logged("shutdown began");
        await bad.get(path);
        assertEquals(text(await slow), "slow but whole");
        const { report } = await ended(server, 1);
        assertEquals(report.reason, "SIGTERM");
        assertEquals(report.errors, [error]);
      });
    }
  },
);

clause(
  "C4",
  "the report is the last line, and nothing written before it is lost in a pipe",
  async ({ step }) => {
    // Its stdout is a pipe whose reader stops when the shutdown begins, and
    // takes its time. What it reads then goes to a file, because the pipe that
    // Bun gives to a child does not block, and `cat` could not write to it.
    const slowStdout = '{ "$@"; echo $? > "$REST.exit"; } | {' +
      " while IFS= read -r line; do printf '%s\\n' \"$line\";" +
      ' case $line in *"shutdown began"*) break;; esac; done;' +
      ' sleep 0.7; cat > "$REST"; }';
    // Here its stderr is, which stays empty until the noise.
    const slowStderr = '{ { "$@" 2>&1 >&4; echo $? > "$REST.exit"; } |' +
      ' { sleep 1.2; cat > "$REST"; }; } 4>&1';

    await step("a reader of its output that goes away", async () => {
      const server = await startFixture();
      const client = await server.connect();
      server.closeOutput();
      for (let n = 0; n < 3; n++) {
        // This route writes lines of its own.
        assertEquals((await client.get("/slow?ms=10")).status, 200);
      }
      server.signal("SIGTERM");
      const { code } = await server.exited;
      assertEquals(code, 0);
    });

    for (const NOISE_TO of ["console", "stdout", "stderr"]) {
      await step(`1 MB through ${NOISE_TO}`, async () => {
        const REST = path.join(scratchFolder(), `rest-${NOISE_TO}`);
        const pipe = NOISE_TO === "stderr" ? slowStderr : slowStdout;
        const server = new ServerProcess(
          ["sh", "-c", pipe, "sh", ...await commandFor(fixture)],
          { env: { NOISE_BYTES: 1_000_000, NOISE_TO, REST } },
        );
        const { json } = await server.event("listening");
        process.kill(Number(json?.pid), "SIGTERM");
        await server.exited;
        assertEquals(fs.readFileSync(`${REST}.exit`, "utf8"), "0\n");

        const output = fs.readFileSync(REST, "utf8");
        const rest = output.trimEnd().split("\n");
        // On Deno console.log may overtake a line of the log, which waits its turn;
        // then some of the noise is there before the reader takes its time.
        const noise = [...server.lines.map(({ text }) => text), ...rest]
          .filter((line) => /^noise \d/.test(line));
        assertEquals(noise.length, 10_000, "lines of noise");
        for (const [n, line] of noise.entries()) {
          assertEquals(line, `noise ${n} `.padEnd(99, "."));
        }
        if (NOISE_TO === "stderr") assertEquals(server.report().exitCode, 0);
        else {
          const last = JSON.parse(rest.at(-1) ?? "");
          assertEquals([last.message, last.exitCode], ["shutdown finished", 0]);
        }
      });
    }

    await step("one report, with everything in it", async () => {
      const server = await startFixture({
        HOOKS: "db:ok",
        DRAIN_DELAY_MS: 100,
      });
      server.signal("SIGTERM");
      const { report } = await endedClean(server);
      assertEquals(server.printed("shutdown finished").length, 1);
      assertEquals(
        report.phases.map(({ phase }) => phase),
        ["starting", "serving", "draining", "closing", "cleanup"],
      );
      const draining = report.phases[2]?.ms ?? 0;
      assert(draining >= 90 && draining < 300, `draining took ${draining} ms`);
      assertEquals(report.requests, { inFlight: 0, completed: 0, cut: [] });
      const { json } = await server.logged("shutdown finished");
      assertEquals(json?.sockets, { open: 0, cut: 0 });
      assert(!Number.isNaN(Date.parse(String(json?.time))), "it has a time");
    });
  },
);

clause(
  "C5",
  "nothing is left behind: without an explicit exit the process ends by itself",
  async ({ step }) => {
    for (const NO_RUN of ["", "1"]) {
      const how = NO_RUN ? "serve alone" : "run";
      await step(`${how}, unused`, async () => {
        const server = await startFixture({ NO_EXIT: 1, NO_RUN });
        server.signal("SIGTERM");
        const { exit } = await endedClean(server);
        assertWithin(exit.msSinceSignal, 500, "the end");
      });

      await step(`${how}, after all kinds of traffic`, async () => {
        const server = await startFixture({
          NO_EXIT: 1,
          NO_RUN,
          JOBS: "ticker:ok",
          HOOKS: "db:ok",
          DRAIN_DELAY_MS: 50,
        });
        const kept = await server.connect();
        await kept.get("/");
        await kept.get("/drip?n=2&ms=10");
        await kept.get("/wait-until?ms=100");
        const events = await server.connect();
        const stream = events.get("/events");
        await events.received("hello");
        const upload = await server.connect();
        void upload.send("POST", "/upload-late?ms=300", { body: "12345" });
        await server.event("handling", { path: "/upload-late" });
        server.signal("SIGTERM");
        assertEquals(text(await upload.response()), "5");
        assertMatch(text(await stream), /event: bye/);
        const { exit } = await endedClean(server);
        const finished = await server.logged("shutdown finished");
        assertWithin(exit.at - finished.at, 300, "the end after the report");
      });
    }
  },
);
