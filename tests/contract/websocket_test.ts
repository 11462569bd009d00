/**
 * WebSockets beyond their good end (D9): handlers that throw, messages and
 * clients without measure, frames that are none, pages of strangers.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { clause } from "./clause.ts";
import { assertWithin, delay, endedClean, isDeno, isNode } from "./expect.ts";
import { descriptorsOf, memoryOf } from "./proc.ts";
import { text } from "./raw_client.ts";
import { frame, RawWebSocket, upgradeBytes } from "./raw_websocket.ts";
import {
  type Env,
  runtime,
  type ServerProcess,
  startFixture,
} from "./server_process.ts";

const isBun = runtime === "bun";
const MEBIBYTE = 1_048_576;
const CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

async function open(
  server: ServerProcess,
  path = "/ws/echo",
): Promise<RawWebSocket> {
  const socket = await RawWebSocket.connect(server.url, path);
  await socket.message("welcome");
  return socket;
}

/** Nobody but the one to blame noticed anything. */
async function servesOn(bystander: RawWebSocket): Promise<void> {
  const word = `still there? ${bystander.messages.length}`;
  bystander.send(word);
  await bystander.message(word);
}

/** Asks for the upgrade, and reads the answer as HTTP. */
async function upgradeAnswer(
  server: ServerProcess,
  path: string,
  headers?: Record<string, string>,
) {
  const client = await server.connect();
  void client.write(upgradeBytes(path, headers));
  const response = await client.response();
  client.leave();
  return response;
}

/**
 * Resolves when so many WebSockets are open. What was closed on our side is
 * closed there a little later, and nobody tells a third party when.
 */
async function openSockets(
  server: ServerProcess,
  expected: number,
): Promise<void> {
  const client = await server.connect();
  for (;;) {
    const { open } = JSON.parse(text(await client.get("/sockets")));
    if (open === expected) break;
    await delay(20);
  }
  client.leave();
}

clause(
  "L3",
  "a WebSocket's messages and what waits to be sent have a limit; a handler that throws costs its socket",
  async ({ step, note, measured }) => {
    await step("a handler that throws, or rejects", async () => {
      const server = await startFixture();
      const bystander = await open(server);
      for (const how of ["now", "later"]) {
        for (const where of ["onOpen", "onMessage", "onClose"]) {
          const socket = await open(server, `/ws/throws/${where}/${how}`);
          if (where === "onMessage") {
            socket.send("a secret");
            // What comes behind it is not handled any more.
            socket.send("another");
          }
          if (where === "onClose") void socket.write(frame(CLOSE));
          const nth = how === "now" ? 1 : 2;
          const line = await server.logged("WebSocket handler failed", {
            error: `thrown in ${where}`,
            level: "error",
          }, nth);
          assertMatch(String(line.json?.stack), /\n\s+at /);
          const { code } = await socket.closed;
          if (where !== "onClose") assertEquals(code, 1011, `${where} ${how}`);
          await server.event("socket event", { where: "onClose" });
          await servesOn(bystander);
        }
      }
      const handled = server.printed("socket event")
        .filter(({ json }) => json?.where === "onMessage");
      assertEquals(
        handled.length >= 2 && handled.length <= 3,
        true,
        `${handled.length} messages were handled`,
      );
      assert(!server.output().includes("a secret"), "what it said is logged");
      await openSockets(server, 1);
      server.signal("SIGTERM");
      assertEquals((await bystander.closed).code, 1001);
      await endedClean(server);
    });

    await step("an onError that throws, too", async () => {
      if (isBun) return note("it calls no `onError`: a bad frame is a close");
      const server = await startFixture();
      for (const how of ["now", "later"]) {
        const socket = await open(server, `/ws/throws/onError/${how}`);
        void socket.write(frame(3)); // an opcode that is reserved
        await socket.closed;
      }
      await server.logged("WebSocket handler failed", {
        error: "thrown in onError",
      }, 2);
      await openSockets(server, 0);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("what makes the handlers throws", async () => {
      const server = await startFixture();
      for (const how of ["now", "later"]) {
        const { status } = await upgradeAnswer(
          server,
          `/ws/throws/factory/${how}`,
        );
        assertEquals(status, 500);
      }
      assertEquals(server.printed("handler failed").length, 2);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("a message of the limit, and one of a byte more", async () => {
      const server = await startFixture();
      const bystander = await open(server);
      // A text of 350,000 characters with three bytes each.
      for (
        const [fits, data] of [
          [true, "x".repeat(MEBIBYTE)],
          [true, new Uint8Array(MEBIBYTE)],
          [false, "x".repeat(MEBIBYTE + 1)],
          [false, new Uint8Array(MEBIBYTE + 1)],
          [true, "€".repeat(349_525)],
          [false, "€".repeat(350_000)],
        ] as const
      ) {
        const socket = await open(server);
        socket.send(data);
        if (fits) {
          socket.send("and that was all");
          await socket.message("and that was all");
          assertEquals(
            socket.received,
            7 + Buffer.byteLength(data) + 16,
          );
          socket.leave();
        } else {
          assertEquals((await socket.closed).code, 1009);
        }
      }
      await servesOn(bystander);
      await openSockets(server, 1);
      server.signal("SIGTERM");
      await bystander.closed;
      await endedClean(server);
    });

    await step("a message in fragments", async () => {
      const server = await startFixture();
      const bystander = await open(server);
      const before = memoryOf(server.pid);
      const socket = await open(server);
      const piece = new Uint8Array(MEBIBYTE / 4);
      await socket.write(frame(BINARY, piece, false));
      let sent = 1;
      while (
        sent < 400 && await socket.write(frame(CONTINUATION, piece, false))
      ) {
        sent++;
      }
      const grown = (memoryOf(server.pid) - before) / 1e6;
      measured(
        `${sent / 4} MiB in fragments were taken, and ${
          grown.toFixed(0)
        } MB grown`,
      );
      if (isDeno) {
        note("it knows the size of a message only when all of it is there");
        await socket.write(frame(CONTINUATION, "", true));
      }
      console.log(await socket.closed);
      await servesOn(bystander);
      server.signal("SIGTERM");
      await bystander.closed;
      await endedClean(server);
    });

    await step("a client that never reads", async () => {
      const server = await startFixture();
      const bystander = await open(server);
      const before = memoryOf(server.pid);
      const socket = await open(server);
      socket.pause();
      const message = frame(BINARY, new Uint8Array(65_536));
      let sent = 0, stuck = false;
      while (sent < 5000 && !stuck) {
        const written = socket.write(message);
        stuck = !await Promise.race([written, delay(3000).then(() => false)]);
        sent++;
      }
      const grown = (memoryOf(server.pid) - before) / 1e6;
      measured(`${sent * 65 / 1000} MB and ${grown.toFixed(0)} MB grown`);
      await servesOn(bystander);
      const c = await server.connect();
      console.log(text(await c.get("/sockets")), server.output().slice(-300));
      socket.resume();
      console.log(await Promise.race([socket.closed, delay(1000)]));
      socket.leave();
      await openSockets(server, 1);
      server.signal("SIGTERM");
      await bystander.closed;
      await endedClean(server);
    }, 30_000);
  },
);
