import { assert, assertEquals, assertMatch } from "@std/assert";
import { Hono } from "hono";
import { test } from "node:test";
import { eventStream, type EventStreamOptions } from "../event_stream.ts";
import { ShutdownController } from "../shutdown.ts";
import { FakeClock, settle } from "../testing/fake_clock.ts";
import { FakeServer } from "../testing/fake_server.ts";

const LAST =
  /event: shutdown\ndata: the server is shutting down\nretry: (\d+)\n\n$/;

const forever = () => new Promise<never>(() => {});

function setup({ drainDelay = 0, socketBatch = 1000 } = {}) {
  const clock = new FakeClock();
  const options = { drainDelay, socketBatch, log() {} };
  const shutdown = new ShutdownController(options, clock);
  const server = new FakeServer();
  shutdown.attach(server, server.sockets);
  const open = (
    send: Parameters<typeof eventStream>[2],
    options: EventStreamOptions = {},
  ): Response | Promise<Response> => {
    const app = new Hono();
    app.get(
      "/",
      (c) => eventStream(c, shutdown, send, { onError() {}, ...options }),
    );
    return app.request("/");
  };
  return { clock, shutdown, open };
}

test("a stream whose sender never settles ends with a last event", async () => {
  const { shutdown, open } = setup();
  const response = await open(async (stream) => {
    await stream.writeSSE({ data: "one" });
    shutdown.begin();
    await forever();
  });
  const text = await response.text();
  assertMatch(text, LAST);
  assertEquals(text.replace(LAST, ""), "data: one\n\n");
});

test("a sender that heeds `over` may say its own last word", async () => {
  const { shutdown, open } = setup();
  const response = await open(async (stream, over) => {
    over.addEventListener("abort", () => void stream.writeSSE({ data: "bye" }));
    await stream.writeSSE({ data: "one" });
    shutdown.begin();
    await settle();
    over.throwIfAborted();
  });
  const text = await response.text();
  assertEquals(text.replace(LAST, ""), "data: one\n\ndata: bye\n\n");
});

test("a stream that ends by itself has no last event of ours", async () => {
  const { shutdown, open } = setup();
  const response = await open(async (stream) => {
    await stream.writeSSE({ data: "one" });
  });
  assertEquals(await response.text(), "data: one\n\n");
  assertEquals(shutdown.streams.size, 0);
});

test("what a sender throws is told, and not to the client", async () => {
  const { open } = setup();
  const told: unknown[] = [];
  const error = new Error("a secret");
  const response = await open(async (stream) => {
    await stream.writeSSE({ data: "one" });
    throw error;
  }, { onError: (error) => told.push(error) });
  assertEquals(await response.text(), "data: one\n\n");
  assertEquals(told, [error]);
});

test("the drain delay goes by before a stream is told", async () => {
  const { clock, shutdown, open } = setup({ drainDelay: 500 });
  let say = (_: string) => {};
  let isOver = false;
  const response = await open(async (stream, over) => {
    over.addEventListener("abort", () => isOver = true);
    say = (data) => void stream.writeSSE({ data });
    await forever();
  });
  const text = response.text();
  shutdown.begin();
  await clock.advance(499);
  assertEquals(isOver, false);
  say("served on");
  await clock.advance(1);
  assertEquals(isOver, true);
  assertEquals((await text).replace(LAST, ""), "data: served on\n\n");
});

test("streams end so many at a time", async () => {
  const { clock, shutdown, open } = setup({ socketBatch: 2 });
  let ended = 0;
  for (let i = 0; i < 5; i++) {
    const response = await open(forever);
    void response.text().then(() => ended++);
  }
  shutdown.begin();
  for (const expected of [2, 4, 5]) {
    await settle();
    assertEquals(ended, expected);
    await clock.advance(100);
  }
});

test("clients are told to come back spread over a window", async () => {
  const { shutdown, open } = setup({ socketBatch: 2000 });
  const responses = await Promise.all(
    Array.from({ length: 2000 }, () => open(forever, { retry: 1000 })),
  );
  const texts = Promise.all(responses.map((response) => response.text()));
  shutdown.begin();
  const tenths = Array.from({ length: 10 }, () => 0);
  for (const text of await texts) {
    const retry = Number(LAST.exec(text)?.[1]);
    assert(retry >= 1000 && retry <= 2000, `retry: ${retry}`);
    tenths[Math.min(9, Math.floor((retry - 1000) / 100))]!++;
  }
  // 200 each, and never three times the mean.
  assert(tenths.every((count) => count > 100 && count < 300), `${tenths}`);
});

test("a stream that finishes is waited for, and beats until it has", async () => {
  const { shutdown, open } = setup();
  let finish = () => {};
  const response = await open(async (stream, over) => {
    await stream.writeSSE({ data: "half" });
    await new Promise<void>((resolve) => finish = resolve);
    await stream.writeSSE({ data: over.aborted ? "over" : "whole" });
  }, { onShutdown: "finish", heartbeat: 5 });
  const reader = response.body!.pipeThrough(new TextDecoderStream())
    .getReader();
  shutdown.begin();
  await settle();
  assertEquals(shutdown.phase, "closing");
  let text = "";
  for (let next; !(next = await reader.read()).done;) {
    text += next.value;
    if (text.includes(":\n\n")) finish();
  }
  assertEquals(
    text.replaceAll(":\n\n", ""),
    "data: half\n\ndata: whole\n\n",
  );
});

test("a stream opened when the listener has closed ends at once", async () => {
  const { shutdown, open } = setup();
  shutdown.begin();
  await settle();
  const response = await open(forever);
  assertMatch(await response.text(), LAST);
});

test("a quiet stream carries a heartbeat", async () => {
  const { shutdown, open } = setup();
  const response = await open(forever, { heartbeat: 10 });
  const reader = response.body!.getReader();
  const first = new TextDecoder().decode((await reader.read()).value);
  assertMatch(first, /^(:\n\n)+$/);
  shutdown.begin();
  let rest = "";
  for (let next; !(next = await reader.read()).done;) {
    rest += new TextDecoder().decode(next.value);
  }
  assertMatch(rest, LAST);
});

test("a client that leaves ends the sender", async () => {
  let told = () => {};
  const over = new Promise<void>((resolve) => told = resolve);
  const { open } = setup();
  const response = await open(async (_, over) => {
    over.addEventListener("abort", told);
    await forever();
  });
  await response.body!.cancel();
  await over;
});
