/**
 * Somebody sets the wall clock: an administrator, NTP after a long sleep, a
 * virtual machine that was moved. No duration of ours may notice.
 */
import { assert, assertEquals } from "@std/assert";
import { clause } from "../support/clause.ts";
import {
  assertWithin,
  delay,
  ended,
  endedClean,
  retiring,
  saysClose,
} from "../support/expect.ts";
import { text } from "../support/raw_client.ts";
import { startFixture } from "../support/server_process.ts";

const HOUR = 3_600_000;

clause(
  "D4",
  "the wall clock may be set by an hour, either way, at any moment: nothing is cut for it, and nothing waits",
  async ({ step, measured }) => {
    for (const at of ["serving", "draining", "closing"]) {
      for (const CLOCK_STEP_MS of [-HOUR, HOUR]) {
        const what = `${CLOCK_STEP_MS < 0 ? "back" : "on"} while ${at}`;
        const env = { CLOCK_STEP_MS, CLOCK_STEP_AT: at };

        await step(`an hour ${what}`, async () => {
          const server = await startFixture({ ...env, IDLE_GRACE_MS: 400 });
          const clients = await Promise.all(
            Array.from({ length: 5 }, () => server.connect()),
          );
          const [slow, kept, silent, unused, half] = clients;
          await silent!.get("/");
          await half!.write("GET / HTTP/1.1\r\nHost: loc");
          if (at === "serving") await server.event("clock stepped");
          const answer = slow!.get("/slow?ms=700");
          answer.catch(() => {}); // awaited below
          await server.event("handling", { path: "/slow" });
          await kept!.get("/");
          server.signal("SIGTERM");
          await server.logged(retiring);
          await delay(150); // its request was on the wire this long
          const late = await kept!.get("/");
          assertEquals(text(late), "hello");
          assert(saysClose(late), "the response does not say close");
          assertEquals(text(await answer), "slow but whole");
          const { exit } = await endedClean(server);
          assertEquals(server.printed("clock stepped").length, 1);
          const after = exit.at - slow!.lastByteAt;
          measured(`${what}: ended ${after.toFixed(0)} ms after the last byte`);
          assertWithin(after, 1500, "the end after the last byte");
          unused!.leave();
          await Promise.all(clients.map(({ closed }) => closed));
        });

        await step(`${what}: a deadline, and an age`, async () => {
          const server = await startFixture({ ...env, DRAIN_TIMEOUT_MS: 900 });
          const client = await server.connect();
          void client.send("GET", "/never");
          await server.event("handling", { path: "/never" });
          if (at === "serving") await server.event("clock stepped");
          server.signal("SIGTERM");
          const { exit, report } = await ended(server, 1);
          assert(exit.msSinceSignal > 880, "the deadline was not kept");
          assertWithin(exit.msSinceSignal, 2500, "the deadline");
          const [cut] = report.requests.cut;
          assert(
            cut && cut.ageMs > 600 && cut.ageMs < 10_000,
            `its age is ${cut?.ageMs} ms`,
          );
          await client.closed;
        });
      }
    }
  },
);
