import { assertEquals } from "@std/assert";
import { Hono } from "hono";
import { test } from "node:test";
import { bodyLimit } from "../body_limit.ts";

function limited(): Hono {
  const app = new Hono();
  app.use(bodyLimit(10));
  app.post("/small", async (c) => c.text(await c.req.text()));
  app.post("/large", bodyLimit(20), async (c) => c.text(await c.req.text()));
  app.post("/tiny", bodyLimit(5), async (c) => c.text(await c.req.text()));
  const inner = new Hono();
  inner.post("/large", bodyLimit(20), async (c) => c.text(await c.req.text()));
  inner.onError((error) => {
    throw error;
  });
  app.route("/inner", inner);
  return app;
}

const post = (path: string, size: number) =>
  limited().request(path, { method: "POST", body: "x".repeat(size) });

/** Without a Content-Length, so that only reading it tells how long it is. */
const postStream = (path: string, size: number) =>
  limited().request(path, {
    method: "POST",
    body: new Blob(["x".repeat(size)]).stream(),
    headers: { "Transfer-Encoding": "chunked" },
    duplex: "half",
  } as RequestInit);

for (const send of [post, postStream]) {
  test(`${send.name}: a body up to the limit passes, one above is a problem`, async () => {
    const within = await send("/small", 10);
    assertEquals(await within.text(), "x".repeat(10));

    const above = await send("/small", 11);
    assertEquals(above.status, 413);
    assertEquals(above.headers.get("content-type"), "application/problem+json");
    assertEquals(await above.json(), {
      type: "about:blank",
      title: "Content Too Large",
      status: 413,
      detail: "The request body may have up to 10 bytes.",
    });
  });

  test(`${send.name}: the limit closest to the route counts`, async () => {
    assertEquals((await send("/large", 20)).status, 200);
    assertEquals((await send("/large", 21)).status, 413);
    assertEquals((await send("/tiny", 5)).status, 200);
    assertEquals((await send("/tiny", 6)).status, 413);
    assertEquals((await send("/inner/large", 20)).status, 200);
    assertEquals((await send("/inner/large", 21)).status, 413);
  });
}
