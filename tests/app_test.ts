import { assert, assertEquals, assertMatch } from "@std/assert";
import { getLogger } from "@logtape/logtape";
import type { Context } from "hono";
import { bearerAuth } from "hono/bearer-auth";
import { compress } from "hono/compress";
import { HTTPException } from "hono/http-exception";
import { prettyJSON } from "hono/pretty-json";
import { stream, streamSSE } from "hono/streaming";
import { describe, test } from "node:test";
import type { App } from "../src/app.ts";
import { Problem } from "../src/kit/problem.ts";
import { setup } from "./app_setup.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What every problem has in common; returns its body. */
async function problemOf(response: Response, status: number, instance: string) {
  assertEquals(response.status, status);
  assertEquals(
    response.headers.get("Content-Type"),
    "application/problem+json",
  );
  assertEquals(response.headers.get("Cache-Control"), "no-store");
  const body = await response.json() as Record<string, unknown>;
  assertEquals(body.type, "about:blank");
  assertEquals(body.status, status);
  assertEquals(body.instance, instance);
  assertEquals(body.requestId, response.headers.get("X-Request-Id"));
  return body;
}

describe("the request id", () => {
  test("is made where none came", async () => {
    const { app } = setup();
    const [one, other] = [await app.request("/"), await app.request("/")]
      .map(({ headers }) => headers.get("X-Request-Id") ?? "");
    assertMatch(one!, UUID);
    assertMatch(other!, UUID);
    assert(one !== other);
  });

  test("is kept where one came", async () => {
    const { app } = setup();
    const headers = { "X-Request-Id": "from-the_balancer=1" };
    const response = await app.request("/", { headers });
    assertEquals(response.headers.get("X-Request-Id"), "from-the_balancer=1");
  });

  for (const id of ['a"b', "a b", "a{b}", "\u00e9", "a".repeat(256)]) {
    test(`is replaced when it is ${JSON.stringify(id).slice(0, 9)}`, async () => {
      const { app } = setup();
      const headers = { "X-Request-Id": id };
      const response = await app.request("/", { headers });
      assertMatch(response.headers.get("X-Request-Id") ?? "", UUID);
    });
  }

  test("is on every log line of its request, and on no other's", async () => {
    const { app, logged } = setup();
    const orders = getLogger("orders");
    let enter = () => {};
    const entered = new Promise<void>((resolve) => enter = resolve);
    let leave = () => {};
    const left = new Promise<void>((resolve) => leave = resolve);
    app.get("/first", async (c) => {
      enter();
      await left;
      orders.info("first done");
      return c.text("first");
    });
    app.get("/second", (c) => {
      orders.info("second done");
      return c.text("second");
    });
    const ask = (id: string) =>
      app.request(`/${id}`, { headers: { "X-Request-Id": id } });
    const first = ask("first");
    await entered;
    await ask("second");
    leave();
    await first;
    orders.info("nobody's");
    assertEquals(
      logged("orders").map(({ message, requestId }) => [message, requestId]),
      [["second done", "second"], ["first done", "first"], [
        "nobody's",
        undefined,
      ]],
    );
    assertEquals(logged("access").map(({ requestId }) => requestId), [
      "second",
      "first",
    ]);
  });
});

describe("the access line", () => {
  test("has method, route, path, status, duration and bytes", async () => {
    const { app, logged } = setup();
    app.get("/orders/:id{[0-9]+}", (c) => c.text("12345", 201));
    await app.request("/orders/42?token=secret");
    const [{ time, ms, ...line }] = logged() as [Record<string, unknown>];
    assert(!Number.isNaN(Date.parse(String(time))));
    assert(typeof ms === "number" && ms >= 0);
    assertMatch(String(line.requestId), UUID);
    delete line.requestId;
    assertEquals(line, {
      level: "info",
      logger: "access",
      message: "request answered",
      method: "GET",
      route: "/orders/:id{[0-9]+}",
      path: "/orders/42",
      status: 201,
      bytes: 5,
    });
  });

  test("has no route where none matched", async () => {
    const { app, logged } = setup();
    await app.request("/nowhere");
    await app.request("/");
    assertEquals(
      logged().map(({ route, path, status }) => [route, path, status]),
      [[undefined, "/nowhere", 404], ["/", "/", 200]],
    );
  });

  test("has the route that answered, not a later one that matches too", async () => {
    const { app, logged } = setup();
    app.get("/users/me", (c) => c.text("me"));
    app.get("/users/:id", (c) => c.text(c.req.param("id")));
    app.post("/users/:id", (c) => c.text("", 201));
    for (const path of ["/users/me", "/users/42"]) await app.request(path);
    // Refused by a middleware before it gets there.
    const body = "x".repeat(2_000_000);
    const headers = { "Content-Length": "2000000" };
    await app.request("/users/42", { method: "POST", headers, body });
    assertEquals(
      logged("access").map(({ route, status }) => [route, status]),
      [["/users/me", 200], ["/users/:id", 200], ["/users/:id", 413]],
    );
  });

  const answers: [string, (c: Context) => Response | Promise<Response>][] = [
    ["text beyond ASCII", (c) => c.text("h\u00e9\ud83d\ude00")],
    ["JSON", (c) => c.json({ a: "\u00e9" }, 201, { "X-Some": "header" })],
    ["JSON as its problem has it", (c) => c.json({ a: 1 }, { status: 400 })],
    ["HTML", (c) => c.html("<p>\u00e9</p>")],
    ["bytes", (c) => c.body(new Uint8Array(7))],
    ["a buffer", (c) => c.body(new ArrayBuffer(9), 203)],
    ["nothing", (c) => c.body(null, 204)],
    ["a redirection", (c) => c.redirect("/elsewhere")],
    ["a problem", () => {
      throw new Problem(409, "It is taken.");
    }],
  ];
  for (const [what, handler] of answers) {
    test(`has the bytes of ${what}`, async () => {
      const { app, logged } = setup();
      app.get("/answer", handler);
      const response = await app.request("/answer");
      const { byteLength } = await response.arrayBuffer();
      assertEquals(logged("access")[0]?.bytes, byteLength);
    });
  }

  test("has no bytes where nobody knows them", async () => {
    const { app, logged } = setup();
    const long = "long ".repeat(1000);
    app.get(
      "/stream",
      (c) => stream(c, async (to) => void await to.write("x")),
    );
    app.get("/compressed", compress(), (c) => c.text(long));
    app.get("/pretty", prettyJSON(), (c) => c.json({ a: 1 }));
    app.get("/jsx", (c) => c.html(Promise.resolve("<p></p>")));
    app.get("/own", () => new Response("mine"));
    const headers = { "Accept-Encoding": "gzip" };
    for (
      const path of ["stream", "compressed", "pretty?pretty", "jsx", "own"]
    ) {
      await (await app.request(`/${path}`, { headers })).arrayBuffer();
    }
    assertEquals(
      logged("access").map(({ path, status, bytes }) => [path, status, bytes]),
      ["stream", "compressed", "pretty", "jsx", "own"]
        .map((path) => [`/${path}`, 200, undefined]),
    );
  });

  test("has no bytes where a HEAD got none", async () => {
    const { app, logged } = setup();
    await app.request("/", { method: "HEAD" });
    assertEquals(logged("access")[0]?.bytes, 0);
  });

  test("is not written for /livez and /readyz", async () => {
    const { app, logged } = setup();
    assertEquals((await app.request("/livez")).status, 200);
    assertEquals((await app.request("/readyz")).status, 200);
    assertEquals(logged(), []);
  });

  test("is one line, whatever the path and the headers say", async () => {
    const { app, lines, logged } = setup();
    const path = "/%0a%1b[31m{message}%22,%22level%22:%22x";
    await app.request(path, {
      headers: { "X-Request-Id": "1", "User-Agent": "{x}" },
    });
    assertEquals(logged().length, 1);
    assertEquals(lines.length, 1);
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x1f]/.test(lines[0]!));
    assertEquals(logged()[0]!.level, "info");
    assertEquals(logged()[0]!.status, 404);
  });

  test("waits for others, and no longer than the next line", async () => {
    const { app, lines, logged, shutdown } = setup();
    await app.request("/");
    await app.request("/nowhere");
    assertEquals(lines, []);
    shutdown.log({ level: "info", message: "something else" });
    const [together, after] = lines;
    assertEquals(together?.split("\n").length, 2);
    assertEquals(JSON.parse(after!).message, "something else");
    assertEquals(lines.length, 2);
    await app.request("/");
    assertEquals(logged().length, 4);
  });

  test("is written by itself when nothing follows", async () => {
    let written = (_: string) => {};
    const line = new Promise<string>((resolve) => written = resolve);
    const { app } = setup({}, { print: (line) => written(line) });
    await app.request("/");
    assertEquals(JSON.parse(await line).logger, "access");
  });

  test("is not written above its level", async () => {
    const { app, logged } = setup({}, { level: "warn" });
    await app.request("/");
    assertEquals(logged(), []);
  });
});

describe("a problem", () => {
  test("404: nothing at this path", async () => {
    const { app } = setup();
    const response = await app.request("/nowhere?a=b");
    const { title, detail } = await problemOf(response, 404, "/nowhere");
    assertEquals([title, detail], ["Not Found", "Nothing is at this path."]);
  });

  test("that a handler throws is the answer", async () => {
    const { app, logged } = setup({}, { level: "warn" });
    const errors = [{ field: "url", message: "expected a URL" }];
    app.post("/orders", () => {
      throw new Problem(422, "The order is not complete.", {
        errors,
        headers: { "Retry-After": "9" },
      });
    });
    const response = await app.request("/orders", { method: "POST" });
    assertEquals(response.headers.get("Retry-After"), "9");
    const body = await problemOf(response, 422, "/orders");
    assertEquals(body.title, "Unprocessable Content");
    assertEquals(body.detail, "The order is not complete.");
    assertEquals(body.errors, errors);
    assertEquals(logged(), [], "a client's mistake is no error of ours");
  });

  test("comes of Hono's middlewares too, with their headers", async () => {
    const { app } = setup();
    app.get("/secret", bearerAuth({ token: "t" }), (c) => c.text("secret"));
    const response = await app.request("/secret");
    assertMatch(response.headers.get("WWW-Authenticate") ?? "", /^Bearer /);
    const { title } = await problemOf(response, 401, "/secret");
    assertEquals(title, "Unauthorized");
  });

  const thrown: [string, unknown][] = [
    ["an error", new TypeError("password is hunter2")],
    ["no error at all", "hunter2"],
    ["nothing", undefined],
    ["an HTTPException of 500", new HTTPException(500, { message: "hunter2" })],
  ];
  for (const [what, cause] of thrown) {
    test(`500 says nothing of ${what} that was thrown, and the log all`, async () => {
      const { app, logged } = setup();
      app.get("/broken", () => {
        throw cause;
      });
      const response = await app.request("/broken");
      const text = await response.clone().text();
      assert(!/hunter2|_test|Error:|\bat /.test(text), text);
      await problemOf(response, 500, "/broken");
      const [failed] = logged("app");
      assertEquals(failed?.level, "error");
      assertEquals(failed?.message, "request failed");
      assertEquals(failed?.requestId, response.headers.get("X-Request-Id"));
      assertEquals([failed?.method, failed?.path], ["GET", "/broken"]);
      if (cause) assertMatch(String(failed?.error), /hunter2/);
      assertMatch(String(failed?.stack), /\n +at |@/);
      const [line] = logged("access");
      assertEquals([line?.status, line?.route], [500, "/broken"]);
    });
  }

  /** When it is told to; or at last, so that a timeout that fails is seen. */
  function answersLate(app: App): () => void {
    let answer = () => {};
    app.get("/late", (c) =>
      new Promise<Response>((resolve) => {
        const timer = setTimeout(() => answer(), 5_000);
        answer = () => {
          clearTimeout(timer);
          resolve(c.text("late"));
        };
      }));
    return () => answer();
  }

  test("504: a handler that takes too long to begin its answer", async () => {
    const { app } = setup({ REQUEST_TIMEOUT_MS: "20" });
    const answer = answersLate(app);
    const response = await app.request("/late");
    const { title } = await problemOf(response, 504, "/late");
    assertEquals(title, "Gateway Timeout");
    answer();
  });

  test("504 is not early, and what comes after it is lost on nobody", async () => {
    const { app } = setup({ REQUEST_TIMEOUT_MS: "100" });
    const answer = answersLate(app);
    const began = performance.now();
    const response = await app.request("/late");
    assertEquals(response.status, 504);
    // Timers round, each of the parts that are waited for.
    assert(performance.now() - began > 85, `${performance.now() - began}`);
    answer();
    // The one that looks after all of them is there for the next.
    const [again] = await Promise.all([app.request("/late"), app.request("/")]);
    assertEquals(again?.status, 504);
    answer();
  });

  test("an answer in time, and an error, are their own", async () => {
    const { app } = setup({ REQUEST_TIMEOUT_MS: "10000" });
    app.get("/taken", () => {
      throw new Problem(409, "It is taken.");
    });
    assertEquals((await app.request("/taken")).status, 409);
    assertEquals((await app.request("/")).status, 200);
  });

  test("a stream may go on for longer than that", async () => {
    const { app } = setup({ REQUEST_TIMEOUT_MS: "20" });
    app.get("/ticks", (c) =>
      streamSSE(c, async (stream) => {
        await new Promise((resolve) => setTimeout(resolve, 60));
        await stream.writeSSE({ data: "late" });
      }));
    const response = await app.request("/ticks");
    assertEquals(await response.text(), "data: late\n\n");
  });
});

describe("methods", () => {
  test("405 says which are allowed", async () => {
    const { app } = setup();
    app.post("/", (c) => c.text("posted"));
    const response = await app.request("/", { method: "DELETE" });
    assertEquals(response.headers.get("Allow"), "GET, HEAD, POST, OPTIONS");
    await problemOf(response, 405, "/");
    const probe = await app.request("/readyz", { method: "POST" });
    assertEquals(probe.headers.get("Allow"), "GET, HEAD, OPTIONS");
    assertEquals(probe.status, 405);
  });

  test("OPTIONS says the same, without a problem", async () => {
    const { app } = setup();
    const response = await app.request("/", { method: "OPTIONS" });
    assertEquals([response.status, await response.text()], [204, ""]);
    assertEquals(response.headers.get("Allow"), "GET, HEAD, OPTIONS");
    assertEquals(response.headers.get("Content-Type"), null);
    const nowhere = await app.request("/nowhere", { method: "OPTIONS" });
    assertEquals(nowhere.status, 404);
  });

  test("HEAD is GET without the body", async () => {
    const { app, logged } = setup();
    const response = await app.request("/", { method: "HEAD" });
    assertEquals([response.status, await response.text()], [200, ""]);
    assertMatch(response.headers.get("Content-Type") ?? "", /^text\/plain/);
    const { byteLength } = await (await app.request("/")).arrayBuffer();
    assertEquals(response.headers.get("Content-Length"), String(byteLength));
    assertEquals(logged()[0]!.method, "HEAD");
  });

  test("HEAD ends a stream that nobody will read", async () => {
    const { app } = setup();
    let ended = () => {};
    const end = new Promise<void>((resolve) => ended = resolve);
    app.get("/ticks", (c) =>
      streamSSE(c, async (stream) => {
        stream.onAbort(ended);
        await stream.writeSSE({ data: "tick" });
        await new Promise(() => {});
      }));
    const response = await app.request("/ticks", { method: "HEAD" });
    assertEquals(response.status, 200);
    await end;
  });
});

describe("headers", () => {
  test("that browsers heed are on every answer", async () => {
    const { app } = setup();
    app.get("/broken", () => {
      throw new Error("broken");
    });
    for (const path of ["/", "/nowhere", "/broken"]) {
      const { headers } = await app.request(path);
      assertEquals(headers.get("X-Content-Type-Options"), "nosniff");
      assertEquals(headers.get("X-Frame-Options"), "SAMEORIGIN");
      assertEquals(headers.get("Strict-Transport-Security"), null);
      assertEquals(headers.get("Access-Control-Allow-Origin"), null);
    }
  });

  test("promise HTTPS for ever only where it is served", async () => {
    const { app } = setup({ TLS_CERT: "c", TLS_KEY: "k" });
    const { headers } = await app.request("/");
    assertEquals(headers.get("Strict-Transport-Security"), "max-age=15552000");
  });

  const env = { CORS_ORIGINS: "https://a.example,https://b.example" };
  const Origin = "https://b.example";

  test("let the configured origins in, and no other", async () => {
    const { app } = setup(env);
    const { headers } = await app.request("/", { headers: { Origin } });
    assertEquals(headers.get("Access-Control-Allow-Origin"), Origin);
    assertEquals(headers.get("Access-Control-Expose-Headers"), "X-Request-Id");
    assertMatch(headers.get("Vary") ?? "", /Origin/);
    const other = await app.request("/", {
      headers: { Origin: "https://evil.example" },
    });
    assertEquals(other.headers.get("Access-Control-Allow-Origin"), null);
  });

  test("answer a preflight, and leave other OPTIONS their Allow", async () => {
    const { app } = setup(env);
    const preflight = await app.request("/", {
      method: "OPTIONS",
      headers: { Origin, "Access-Control-Request-Method": "GET" },
    });
    assertEquals(preflight.status, 204);
    assertEquals(preflight.headers.get("Access-Control-Allow-Origin"), Origin);
    const plain = await app.request("/", { method: "OPTIONS" });
    assertEquals(plain.headers.get("Allow"), "GET, HEAD, OPTIONS");
  });
});
