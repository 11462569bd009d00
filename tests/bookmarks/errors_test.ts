/** A refusal is not longer than what it refuses, however much of that is wrong. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import { memoryApp } from "./in_process.ts";

test("of thousands of wrong fields the first are named, and cut to a length", async () => {
  const { ask } = memoryApp();
  const keys = Array.from({ length: 5000 }, (_, n) => [`k${n}`, 0]);
  const name = "x".repeat(10_000);
  const body = JSON.stringify({ [name]: 0, ...Object.fromEntries(keys) });
  const headers = { "Content-Type": "application/json" };
  const init = { method: "POST", headers, body };
  const response = await ask("/bookmarks", init);
  assertEquals(response.status, 422);
  const text = await response.text();
  assert(text.length < 4000, `${text.length} bytes`);
  const { errors, detail } = JSON.parse(text);
  assertEquals(errors.length, 20);
  assertMatch(
    detail,
    /^The body is not valid\. These are the first 20 of 500\d /,
  );
  for (const { field } of errors) assert(field.length <= 101, field);
});

test("a handful are all named", async () => {
  const { ask } = memoryApp();
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ tags: Array(15).fill(7) });
  const response = await ask("/bookmarks", { method: "POST", headers, body });
  const { errors, detail } = JSON.parse(await response.text());
  assertEquals(errors.length, 17);
  assertEquals(detail, "The body is not valid.");
});
