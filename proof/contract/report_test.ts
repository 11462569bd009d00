/** The report comes whatever breaks on the way to it. */
import { assert, assertEquals } from "@std/assert";
import { clause } from "../support/clause.ts";
import { assertWithin, delay, ended } from "../support/expect.ts";
import { text } from "../support/raw_client.ts";
import { startFixture } from "../support/server_process.ts";

const methods = [
  "countAnswers",
  "inFlight",
  "answered",
  "openSockets",
  "close",
  "cut",
];
const work = { HOOKS: "first:ok,last:ok", JOBS: "ticker:ok" };

clause(
  "C6",
  "whatever an adapter throws during the drain, everything after it runs, the report comes, exit 1",
  async ({ step }) => {
    // Cut is not called where all was answered, and close tells when it was.
    for (const broken of methods.slice(0, 4)) {
      await step(
        `${broken} throws: what is in flight is answered`,
        async () => {
          const server = await startFixture({ ...work, THROWS: broken });
          const client = await server.connect();
          const answer = client.get("/slow?ms=400");
          await server.event("handling", { path: "/slow" });
          server.signal("SIGTERM");
          assertEquals(text(await answer), "slow but whole");
          const { report } = await ended(server, 1);
          assertEquals(report.outcome, "failed");
          assertEquals(
            new Set(report.errors),
            new Set([`${broken} is broken`]),
          );
          assertEquals(report.hooks.map(({ name }) => name), ["last", "first"]);
          assertEquals(report.jobs.map(({ name }) => name), ["ticker"]);
          assertEquals(report.requests.cut, []);
        },
      );
    }

    for (const broken of [...methods, methods.join()]) {
      await step(`${broken} throws: the deadline strikes`, async () => {
        const server = await startFixture({
          ...work,
          THROWS: broken,
          DRAIN_TIMEOUT_MS: 300,
          DRAIN_DELAY_MS: 100,
        });
        const client = await server.connect();
        void client.send("GET", "/never");
        await server.event("handling", { path: "/never" });
        server.signal("SIGTERM");
        const { exit, report } = await ended(server, 1);
        const names = broken.split(",");
        // One that cannot close is given up at once.
        const { outcome } = report;
        assertEquals(outcome, names.includes("close") ? "failed" : "timeout");
        for (const name of names) {
          assert(report.errors.includes(`${name} is broken`), name);
        }
        assertEquals(
          report.requests.cut.map(({ path }) => path),
          names.includes("inFlight") ? [] : ["/never"],
        );
        assertEquals(report.hooks.map(({ name }) => name), ["last", "first"]);
        assertEquals(report.jobs.map(({ name }) => name), ["ticker"]);
        // 0.4 s of drain, a second to cut, 2 s of cleanup, and 2 to spare.
        assertWithin(exit.msSinceSignal, 5400, "the end");
      });
    }

    await step("a second signal forces all the same", async () => {
      const server = await startFixture({
        HOOKS: "first:ok,stuck:hang",
        THROWS: methods.join(),
        CLEANUP_TIMEOUT_MS: 60_000,
      });
      const client = await server.connect();
      void client.send("GET", "/never");
      await server.event("handling", { path: "/never" });
      server.signal("SIGTERM");
      await server.event("hook", { name: "stuck" });
      await delay(600); // Half a second is the same signal.
      server.signal("SIGTERM");
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "forced");
      assertEquals(report.hooks.map(({ name }) => name), ["stuck", "first"]);
      assertWithin(exit.msSinceSignal, 3000, "the end");
    });
  },
);
