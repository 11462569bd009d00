/** A Ctrl-C amid the tests ends everything that they have started. */
import { assertEquals, assertNotEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { after, afterEach, test } from "node:test";
import { killAll, removeScratch, runtime } from "../support/server_process.ts";
import { which } from "../../scripts/which.js";
import { terminal } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const testCommand = {
  deno: "deno task test",
  bun: "bun run test",
  node: "npm test",
}[runtime];

/** The processes whose environment says so, and that are no zombies. */
function marked(mark: string): string[] {
  return execFileSync("ps", ["axeww", "-o", "stat=,args="], {
    encoding: "utf8",
  })
    .split("\n").filter((line) => line.includes(mark) && !line.startsWith("Z"));
}

const skip = (process.platform !== "linux" || !which("ps")) &&
  "no such ps here";

test(`${testCommand}: a Ctrl-C leaves nothing behind`, { skip }, async () => {
  const mark = `LASTCALL_MARK_${crypto.randomUUID()}`;
  const tests = terminal(testCommand, { [mark]: "1" });
  // By then the runner has begun, and others wait behind it.
  assertNotEquals(marked(mark), []);
  await tests.line("a test", ({ text }) => /✔|▶|\(pass\)|\.\.\. /.test(text));
  tests.ctrlC();
  assertNotEquals((await tests.exited).code, 0, tests.describe());
  assertEquals(marked(mark), []);
});
