import { assertEquals, assertMatch } from "@std/assert";
import { Hono } from "hono";
import { test } from "node:test";
import { eventStream, type EventStreamOptions } from "../event_stream.ts";

const LAST = "event: shutdown\ndata: the server is shutting down\n\n";

function open(
  leaving: AbortSignal,
  send: Parameters<typeof eventStream>[2],
  options: EventStreamOptions = {},
): Response | Promise<Response> {
  const app = new Hono();
  app.get(
    "/",
    (c) => eventStream(c, leaving, send, { onError() {}, ...options }),
  );
  return app.request("/");
}

test("a stream whose sender never settles ends with a last event", async () => {
  const leaving = new AbortController();
  const response = await open(leaving.signal, async (stream) => {
    await stream.writeSSE({ data: "one" });
    leaving.abort();
    await new Promise(() => {});
  });
  assertEquals(await response.text(), `data: one\n\n${LAST}`);
});

test("a sender that heeds `over` may say its own last word", async () => {
  const leaving = new AbortController();
  const response = await open(leaving.signal, async (stream, over) => {
    over.addEventListener("abort", () => void stream.writeSSE({ data: "bye" }));
    await stream.writeSSE({ data: "one" });
    leaving.abort();
    over.throwIfAborted();
  });
  assertEquals(await response.text(), `data: one\n\ndata: bye\n\n${LAST}`);
});

test("a stream that ends by itself has no last event of ours", async () => {
  const { signal } = new AbortController();
  const response = await open(signal, async (stream) => {
    await stream.writeSSE({ data: "one" });
  });
  assertEquals(await response.text(), "data: one\n\n");
});

test("what a sender throws is told, and not to the client", async () => {
  const { signal } = new AbortController();
  const told: unknown[] = [];
  const error = new Error("a secret");
  const response = await open(signal, async (stream) => {
    await stream.writeSSE({ data: "one" });
    throw error;
  }, { onError: (error) => told.push(error) });
  assertEquals(await response.text(), "data: one\n\n");
  assertEquals(told, [error]);
});

test("a stream opened during the shutdown ends at once", async () => {
  const response = await open(
    AbortSignal.abort(),
    () => new Promise(() => {}),
  );
  assertEquals(await response.text(), LAST);
});

test("a quiet stream carries a heartbeat", async () => {
  const leaving = new AbortController();
  const response = await open(
    leaving.signal,
    () => new Promise(() => {}),
    { heartbeat: 10 },
  );
  const reader = response.body!.getReader();
  const first = new TextDecoder().decode((await reader.read()).value);
  assertMatch(first, /^(:\n\n)+$/);
  leaving.abort();
  let rest = "";
  for (let next; !(next = await reader.read()).done;) {
    rest += new TextDecoder().decode(next.value);
  }
  assertEquals(rest.endsWith(LAST), true);
});

test("a client that leaves ends the sender", async () => {
  let told = () => {};
  const over = new Promise<void>((resolve) => told = resolve);
  const { signal } = new AbortController();
  const response = await open(signal, async (_, over) => {
    over.addEventListener("abort", told);
    await new Promise(() => {});
  });
  await response.body!.cancel();
  await over;
});
