/** Every script is there for every runtime, and says what it does. */
import { assertEquals, assertMatch } from "@std/assert";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { describe, test } from "node:test";

const read = (file: string) => JSON.parse(readFileSync(file, "utf8"));
const scripts: Record<string, string> = read("package.json").scripts;
const tasks: Record<string, string> = read("deno.json").tasks;

test("deno task has every script that package.json has", () => {
  assertEquals(Object.keys(tasks).sort(), Object.keys(scripts).sort());
});

describe("--help", () => {
  for (const [name, line] of Object.entries(scripts)) {
    const skip = process.versions.deno !== undefined && name === "dev" &&
      "deno run --watch answers, and goes on watching";
    test(`of ${name} is an answer, and starts nothing`, { skip }, () => {
      const [file = "", ...args] = process.versions.deno
        ? [process.execPath, "task", "--quiet", name]
        : [process.execPath, ...line.replace(/^(exec )?node /, "").split(" ")];
      const { status, stdout, stderr } = spawnSync(file, [...args, "--help"], {
        encoding: "utf8",
        env: { ...process.env, DENO_NO_PROMPT: "1" },
        timeout: 30_000,
      });
      assertEquals([status, stderr.replace(/^node@.*\n/gm, "")], [0, ""]);
      assertMatch(stdout, /^\S.*\n/);
      assertMatch(stdout, /--|npm run|deno task/);
    });
  }
});
