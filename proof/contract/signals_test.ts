/**
 * Which signals begin a shutdown: that of a terminal that closes is one of them,
 * and one that nobody can hear is refused.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { clause, Skip } from "../support/clause.ts";
import { ended, saysClose } from "../support/expect.ts";
import { Terminal } from "../support/pty.ts";
import { RawClient, text } from "../support/raw_client.ts";
import {
  commandFor,
  fixture,
  Process,
  scratchFolder,
  spawnFixture,
} from "../support/server_process.ts";

clause(
  "D1",
  "a terminal that is closed begins a shutdown like any other",
  async ({ step }) => {
    if (process.platform !== "linux") throw new Skip("needs script and tail");
    await step("what is in flight is answered, and it ends clean", async () => {
      const told = path.join(scratchFolder(), "hangup.log");
      const command = (await commandFor(fixture)).join(" ");
      // Nobody reads the terminal by then: a file has what it said.
      const terminal = new Terminal(
        `sh -c "${command} | (trap '' HUP; exec tee ${told})"`,
        { env: {} },
      );
      const { json } = await terminal.event("listening");
      const pid = String(json?.pid);
      const gone = new Process(["tail", `--pid=${pid}`, "-f", "/dev/null"]);
      const client = await RawClient.connect(Number(json?.port));
      const answer = client.get("/slow?ms=900");
      await terminal.event("handling", { path: "/slow" });
      terminal.kill(); // the terminal, not what runs in it
      const response = await answer;
      assertEquals(text(response), "slow but whole");
      assert(saysClose(response), "the response does not say close");
      await gone.exited;
      const report = JSON.parse(
        fs.readFileSync(told, "utf8").trim().split("\n").at(-1)!,
      );
      assertEquals(
        [report.message, report.reason, report.outcome, report.exitCode],
        ["shutdown finished", "SIGHUP", "clean", 0],
      );
    });
  },
);

clause(
  "S2",
  "a signal that no process hears, or that is none, is refused in one sentence",
  async ({ step }) => {
    for (const SIGNALS of ["SIGKILL", "SIGSTOP", "SIGTREM"]) {
      await step(SIGNALS, async () => {
        const server = await spawnFixture({
          SIGNALS: `SIGTERM,${SIGNALS}`,
          HOOKS: "db:ok",
        });
        const { json } = await server.logged("start-up failed");
        await ended(server, 1);
        assertMatch(String(json?.error), new RegExp(`has "${SIGNALS}"; expe`));
        assertEquals(json?.stack, undefined, "a sentence, not a stack");
        assertEquals(server.printed("listening").length, 0);
      });
    }

    await step("one that this platform lacks is no error", async () => {
      const server = await spawnFixture({ SIGNALS: "SIGTERM,SIGBREAK,SIGPWR" });
      await server.listening();
      server.signal("SIGTERM");
      await ended(server, 0);
    });
  },
);
