/**
 * A port that two processes share: what proves something on a port of one's own
 * proves nothing here, for the other one may have answered.
 */
import { spawnSync } from "node:child_process";
import { assertEquals } from "@std/assert";
import { clause, Skip } from "../support/clause.ts";
import { endedClean, isNode } from "../support/expect.ts";
import { text } from "../support/raw_client.ts";
import { executable, startFixture } from "../support/server_process.ts";

clause(
  "N2",
  "reusePort: who was in the accept queue of the process that leaves is answered",
  async ({ step }) => {
    const version = spawnSync(executable, ["--version"]).stdout.toString();
    if (isNode && /^v(20|21|22\.([0-9]|1[01])\.)/.test(version)) {
      throw new Skip("reusePort needs Node 22.12");
    }
    for (let round = 1; round <= 5; round++) {
      await step(`round ${round}`, async () => {
        const old = await startFixture({ REUSE_PORT: 1, STALLS: 1 });
        old.signal("SIGTERM");
        await old.event("stalled");
        const next = await startFixture({ REUSE_PORT: 1, PORT: old.port });
        // The system hands half of them to a process that does not listen now.
        const clients = await Promise.all(
          Array.from({ length: 200 }, () => next.connect()),
        );
        const answers = clients.map((client) =>
          client.get("/").then(text, (error: Error) => error.message)
        );
        old.type("\n");
        assertEquals(await Promise.all(answers), Array(200).fill("hello"));
        await endedClean(old);
        for (const client of clients) client.leave();
        next.signal("SIGTERM");
        await endedClean(next);
      });
    }
  },
);
