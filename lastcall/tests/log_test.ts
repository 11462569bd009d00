import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Output } from "../../runtimes/runtime.ts";
import { jsonLogTo } from "../log.ts";

test("what tells of dropped lines is a line like any other", () => {
  let line = "";
  const write: Output["write"] = (_, describeLost) =>
    void (line = describeLost!({ lines: 3, bytes: 600 }));
  jsonLogTo({ write })({ level: "info", message: "shutdown began" });
  const { time: _, ...rest } = JSON.parse(line);
  assertEquals(rest, {
    level: "warn",
    message: "log lines dropped",
    count: 3,
    bytes: 600,
  });
});
