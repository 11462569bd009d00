// The app that every contender serves, and what each tells the bench.

import { Hono } from "hono";

/**
 * @typedef {object} Route
 * @property {string} name
 * @property {string} path
 * @property {string} [body] what is posted, as JSON
 * @property {string} answer
 */

const json = '{"hello":"world","n":1}';

/** The routes under load. @type {Route[]} */
export const ROUTES = [
  { name: "plain text", path: "/", answer: "hello" },
  { name: "JSON", path: "/json", answer: json },
  { name: "path parameter", path: "/users/42", answer: "42" },
  { name: "POST with JSON", path: "/echo", body: json, answer: json },
  { name: "streamed", path: "/stream", answer: "hello" },
];

/** How long a held request goes on after the last of them has arrived. */
const HOLD = 500;

export const app = new Hono();

app.get("/", (c) => c.text("hello"));
app.get("/json", (c) => c.json({ hello: "world", n: 1 }));
app.get("/users/:id", (c) => c.text(c.req.param("id")));
app.post("/echo", async (c) => c.json(await c.req.json()));

const encoder = new TextEncoder();
app.get("/stream", (c) =>
  c.body(
    new ReadableStream({
      start(controller) {
        controller.enqueue(encoder.encode("hel"));
        controller.enqueue(encoder.encode("lo"));
        controller.close();
      },
    }),
  ));

/** @type {(() => void)[]} */
let held = [];
// Nobody is answered before `count` requests are here, and the bench knows it.
app.get("/held/:count", async (c) => {
  const holding = new Promise((resolve) => held.push(() => resolve(undefined)));
  if (held.length === Number(c.req.param("count"))) {
    const release = held;
    held = [];
    setTimeout(() => release.forEach((answer) => answer()), HOLD);
    tell({ event: "held" });
  }
  await holding;
  return c.text("held");
});

// Memory is compared without what the next collection would take away.
app.get("/gc", (c) => {
  const { gc, Bun } = /** @type {any} */ (globalThis);
  for (let i = 0; i < 3; i++) Bun ? Bun.gc(true) : gc();
  return c.text("collected");
});

/** @param {number} port */
export function listening(port) {
  tell({ event: "listening", port });
}

/** @param {object} event */
function tell(event) {
  console.log(JSON.stringify(event));
}
