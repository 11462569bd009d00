/**
 * What a runtime tells by the way, and never promised, may be gone with its next
 * version. Nothing in flight is cut for that, and the report stays true.
 */
import { assertEquals } from "@std/assert";
import { clause, Skip } from "../support/clause.ts";
import { assertWithin, ended, endedClean } from "../support/expect.ts";
import { isPattern, text } from "../support/raw_client.ts";
import { runtime, startFixture } from "../support/server_process.ts";

clause(
  "D5",
  "a runtime that no longer tells what is in flight costs no request",
  async ({ step }) => {
    if (runtime !== "bun") {
      throw new Skip("only Bun is asked while it serves; see tests/*_test.ts");
    }
    for (const BLIND of ["requestIP", "requestIP:stays", "pendingRequests"]) {
      await step(`${BLIND}: a slow handler and a slow reader`, async () => {
        const server = await startFixture({ BLIND, DRAIN_TIMEOUT_MS: 8000 });
        const [first, slow, big] = [
          await server.connect(),
          await server.connect(),
          await server.connect(),
        ];
        for (let n = 0; n < 300; n++) await first.get("/");
        const answer = slow.get("/slow?ms=1500");
        await server.event("handling", { path: "/slow" });
        big.readSlowly(20_000_000);
        const bytes = big.get("/big");
        await server.event("handling", { path: "/big" });
        server.signal("SIGTERM");
        assertEquals(text(await answer), "slow but whole");
        assertEquals(isPattern(await bytes, 30_000_000), true);
        const { report } = await endedClean(server);
        assertEquals(report.requests.cut, []);
      });

      await step(`${BLIND}: who is stuck is named`, async () => {
        const server = await startFixture({ BLIND, DRAIN_TIMEOUT_MS: 700 });
        const [done, busy] = [await server.connect(), await server.connect()];
        await done.get("/slow?ms=10"); // not to be blamed later
        void busy.send("GET", "/never");
        await server.event("handling", { path: "/never" });
        server.signal("SIGTERM");
        const { exit, report } = await ended(server, 1);
        assertWithin(exit.msSinceSignal, 2500, "the deadline");
        const named = report.requests.cut.map(({ path }) => path);
        // A request that never seems to end is found out by the next ones.
        assertEquals(named.filter((path) => path !== "/slow"), ["/never"]);
        await busy.closed;
      });
    }
  },
);
