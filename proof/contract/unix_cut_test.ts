/** A drain that is cut before its server has stopped leaves no file behind. */
import * as fs from "node:fs";
import * as path from "node:path";
import { assert, assertEquals } from "@std/assert";
import { clause } from "../support/clause.ts";
import { delay, ended, postHead } from "../support/expect.ts";
import {
  type Env,
  scratchFolder,
  startFixture,
} from "../support/server_process.ts";

clause(
  "N1",
  "a Unix socket's file is gone also where the drain was cut before it had stopped",
  async ({ step }) => {
    const stuck = async (what: string, env: Env, force: boolean) => {
      const UNIX = path.join(scratchFolder(), `cut-${what}.sock`);
      const server = await startFixture({ UNIX, ...env });
      const client = await server.connect();
      // For an upload, Deno does not stop before it is over.
      await client.write(postHead("/upload", 1000) + "half of it");
      await server.event("handling", { path: "/upload" });
      assert(fs.existsSync(UNIX), "there is no file");
      server.signal("SIGTERM");
      await server.logged("shutdown began");
      if (force) {
        await delay(600); // beyond half a second: no repetition
        server.signal("SIGTERM");
      }
      const { report } = await ended(server, 1);
      assertEquals(report.outcome, force ? "forced" : "timeout");
      assertEquals(report.requests.cut.map(({ path }) => path), ["/upload"]);
      assert(!fs.existsSync(UNIX), "the file stays");
      await client.closed;
    };
    await step(
      "at the deadline",
      () => stuck("deadline", { DRAIN_TIMEOUT_MS: 700 }, false),
    );
    await step(
      "by force",
      () => stuck("force", { DRAIN_TIMEOUT_MS: 20_000 }, true),
    );
    await step("at once, within the last moments", async () => {
      const env = { DRAIN_TIMEOUT_MS: 50, IDLE_GRACE_MS: 2000 };
      await stuck("at-once", env, false);
    });
  },
);
