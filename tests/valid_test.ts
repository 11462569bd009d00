/** A body with faults: each is named by its field, and a refusal stays short. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, test } from "node:test";
import * as v from "valibot";
import { valid } from "../src/kit/valid.ts";
import { setup } from "./app_setup.ts";

const order = v.strictObject({
  item: v.pipe(v.string("expected a text"), v.nonEmpty("expected a name")),
  notes: v.optional(v.array(v.string("expected a text"))),
});

async function send(body: string, type = "application/json") {
  const { app } = setup();
  app.post("/orders", valid("json", order), (c) => c.json(c.req.valid("json")));
  const headers = { "Content-Type": type };
  const init = { method: "POST", headers, body };
  const response = await app.request("/orders", init);
  const text = await response.text();
  return { status: response.status, text, json: JSON.parse(text) };
}

describe("a body", () => {
  test("that is valid is what the schema makes of it", async () => {
    const { status, json } = await send('{"item":"tea"}');
    assertEquals([status, json], [200, { item: "tea" }]);
  });

  test("with faults is a 422 that names every field", async () => {
    const { status, json } = await send('{"notes":["a",1]}');
    assertEquals(status, 422);
    assertEquals(json.detail, "The body is not valid.");
    assertEquals(json.errors, [
      { field: "item", message: "is missing" },
      { field: "notes.1", message: "expected a text" },
    ]);
  });

  test("that is not said to be JSON is a 415", async () => {
    assertEquals((await send("item=tea", "text/plain")).status, 415);
  });

  test("of thousands of faults has the first named, and cut to a length", async () => {
    const keys = Array.from({ length: 5000 }, (_, n) => [`k${n}`, 0]);
    const long = { ["x".repeat(10_000)]: 0, ...Object.fromEntries(keys) };
    const { text, json } = await send(
      JSON.stringify({ notes: Array(50).fill(0), ...long }),
    );
    assert(text.length < 4000, `${text.length} bytes`);
    assertEquals(json.errors.length, 20);
    assertMatch(json.detail, /These are the first 20 of \d+ errors/);
    for (const { field } of json.errors) assert(field.length <= 101, field);
  });

  test("with a handful of faults has all of them named", async () => {
    const body = JSON.stringify({ item: "tea", notes: Array(15).fill(7) });
    const { json } = await send(body);
    assertEquals(json.errors.length, 15);
    assertEquals(json.detail, "The body is not valid.");
  });
});
