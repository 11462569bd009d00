import { assertEquals, assertMatch } from "@std/assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { version } from "#lastcall";

const read = (file: string) => readFileSync(file, "utf8");
const engine = JSON.parse(read("lastcall/engine.json"));

test("the project has the versions that the engine was proved with", () => {
  const { dependencies } = JSON.parse(read("package.json"));
  for (const [name, pin] of Object.entries(engine.pins)) {
    assertEquals(dependencies[name], pin, name);
  }
});

test("the engine tells its version, and the changelog names it", () => {
  assertEquals(version, engine.version);
  assertMatch(
    read("lastcall/CHANGELOG.md"),
    new RegExp(`^## ${version}$`, "m"),
  );
});
