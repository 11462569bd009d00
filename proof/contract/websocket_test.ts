/**
 * WebSockets beyond their good end (D9): handlers that throw, messages and
 * clients without measure, frames that are none, pages of strangers.
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { clause } from "../support/clause.ts";
import {
  assertWithin,
  delay,
  endedClean,
  isBun,
  isDeno,
  isNode,
  kernelHolds,
} from "../support/expect.ts";
import { descriptorsOf, memoryOf } from "../support/proc.ts";
import { text } from "../support/raw_client.ts";
import { frame, RawWebSocket, upgradeBytes } from "../support/raw_websocket.ts";
import { type ServerProcess, startFixture } from "../support/server_process.ts";

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

/** Of an upgrade that is refused. */
async function refusal(
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

const repeated = (bytes: Buffer, times: number) =>
  Buffer.alloc(bytes.length * times, bytes);

/**
 * Until it is all out, or nobody takes any more: on some runtimes a client that
 * does not read is not read from either.
 */
async function pour(socket: RawWebSocket, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length; sent += 65_536) {
    const written = socket.write(bytes.subarray(sent, sent + 65_536));
    const stuck = delay(1000).then(() => false);
    if (!await Promise.race([written, stuck])) return;
  }
}

/** Looked at again until there are `atMost`; see `openSockets`. */
async function descriptors(
  server: ServerProcess,
  atMost = Infinity,
): Promise<string[]> {
  if (process.platform !== "linux") return [];
  let now = descriptorsOf(server.pid);
  for (let look = 0; look < 50 && now.length > atMost; look++) {
    await delay(100);
    now = descriptorsOf(server.pid);
  }
  return now;
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
          if (isDeno && where === "onMessage") {
            note("a client that sends while it is being closed may see 1006");
            assert([1006, 1011].includes(code), `${where} ${how}: ${code}`);
          } else if (where !== "onClose") {
            assertEquals(code, 1011, `${where} ${how}`);
          }
          await server.event("socket event", { where: "onClose" });
          await servesOn(bystander);
        }
      }
      await openSockets(server, 1);
      server.signal("SIGTERM");
      assertEquals((await bystander.closed).code, 1001);
      await endedClean(server);
      const handled = server.printed("socket event")
        .filter(({ json }) => json?.where === "onMessage");
      // The second of a pair, where the first had not been rejected yet.
      assert(handled.length <= 3, `${handled.length} messages were handled`);
      assert(!server.output().includes("a secret"), "what it said is logged");
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
        const { status } = await refusal(server, `/ws/throws/factory/${how}`);
        assertEquals(status, 500);
      }
      await server.event("handler failed", {}, 2);
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
      const socket = await open(server);
      const piece = frame(CONTINUATION, new Uint8Array(MEBIBYTE / 4), false);
      await socket.write(frame(BINARY, "", false));
      const most = isDeno ? 80 : 4 * (8 * MEBIBYTE + kernelHolds()) / MEBIBYTE;
      let sent = 0;
      while (sent < most && await socket.write(piece)) sent++;
      if (isDeno) {
        note(
          "it knows the size of a message when all of it is there, and takes a " +
            "frame of 64 MiB and any number of fragments until then",
        );
        assertEquals(sent, 80, "Deno has a limit for fragments");
        void socket.write(frame(CONTINUATION));
      } else {
        // Beyond the limit only what the kernel held.
        assert(sent < most, `all ${most / 4} MiB were taken`);
      }
      assertEquals((await socket.closed).code, 1009);
      await servesOn(bystander);
      await openSockets(server, 1);
      server.signal("SIGTERM");
      await bystander.closed;
      await endedClean(server);
    });

    await step("a client that sends and never reads", async () => {
      for (
        const [size, times] of [[65_536, 3000], [20, 1_000_000], [0, 1_000_000]]
      ) {
        const server = await startFixture();
        const bystander = await open(server);
        const before = memoryOf(server.pid);
        const socket = await open(server);
        socket.pause();
        const message = frame(BINARY, new Uint8Array(size!));
        const written = socket.write(repeated(message, times!));
        const closed = server.event("socket closed");
        // The kernel has room for a million empty frames.
        await (size === 0 ? Promise.race([written, closed]) : closed);
        await servesOn(bystander);
        const grown = (memoryOf(server.pid) - before) / 1e6;
        measured(
          `messages of ${size} bytes, never read: ${grown.toFixed(0)} MB grown`,
        );
        assert(grown < 100, `it grew by ${grown.toFixed(0)} MB`);
        if (size === 0) socket.leave();
        await openSockets(server, 1);
        socket.leave();
        server.signal("SIGTERM");
        await bystander.closed;
        await endedClean(server);
      }
    }, 60_000);

    await step("a client that never reads what it is sent", async () => {
      const server = await startFixture();
      const bystander = await open(server);
      const before = memoryOf(server.pid);
      const socket = await open(server, "/ws/pushes");
      socket.pause();
      // 400 MB, 4 MB between two turns of the loop.
      await server.event("pushed");
      await servesOn(bystander);
      const grown = (memoryOf(server.pid) - before) / 1e6;
      measured(`400 MB for a deaf client: ${grown.toFixed(0)} MB grown`);
      assert(grown < 100, `it grew by ${grown.toFixed(0)} MB`);
      if (isDeno) {
        note(
          "a client that neither reads nor sends is told, not cut: it keeps what " +
            "waits for it, and its connection, until it leaves",
        );
        await openSockets(server, 2);
        socket.leave();
      }
      await openSockets(server, 1);
      // It sees the end only where it reads what came before.
      socket.resume();
      assertEquals((await socket.closed).code, 1006);
      server.signal("SIGTERM");
      await bystander.closed;
      await endedClean(server);
    }, 60_000);

    await step("a client that reads has no limit of that kind", async () => {
      const server = await startFixture();
      const socket = await open(server);
      for (let round = 0; round < 50; round++) {
        socket.send(new Uint8Array(200_000));
        void socket.write(repeated(frame(TEXT, "x"), 2000));
        socket.send(`round ${round}`);
        await socket.message(`round ${round}`);
      }
      assert(socket.received > 10_100_000, `${socket.received} bytes arrived`);
      server.signal("SIGTERM");
      assertEquals((await socket.closed).code, 1001);
      await endedClean(server);
    });
  },
);

const masked = (first: number, ...lengthBytes: number[]) =>
  Buffer.from([first, ...lengthBytes, 0, 0, 0, 0]);
const long = (length: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(length);
  return [...bytes];
};
const all = (...frames: Uint8Array[]) => Buffer.concat(frames);

const broken: Record<string, Uint8Array> = {
  "an unmasked frame": Buffer.from([128 | TEXT, 2, 104, 105]),
  "the first reserved bit": all(masked(192 | TEXT, 130), Buffer.from("hi")),
  "the second reserved bit": all(masked(160 | TEXT, 130), Buffer.from("hi")),
  "the third reserved bit": all(masked(144 | TEXT, 130), Buffer.from("hi")),
  "a reserved opcode": frame(3, "hi"),
  "a reserved control opcode": frame(11, "hi"),
  "half a ping": frame(PING, "hi", false),
  "half a close": frame(CLOSE, "", false),
  "a ping of 126 bytes": all(
    masked(128 | PING, 254, 0, 126),
    Buffer.alloc(126),
  ),
  "a pong of 2 GiB": masked(128 | PONG, 255, ...long(1n << 31n)),
  "a text that is none": frame(TEXT, Buffer.from([255, 254])),
  "a text that is none, in two halves": all(
    frame(TEXT, Buffer.from([0xe2, 0x82]), false),
    frame(CONTINUATION, Buffer.from([0x41])),
  ),
  "the end of nothing": frame(CONTINUATION, "hi"),
  "a message within a message": all(
    frame(TEXT, "hi", false),
    frame(TEXT, "hi"),
  ),
  "a message of 2 GiB": masked(128 | BINARY, 255, ...long(1n << 31n)),
  "a message of 2^53 bytes": masked(128 | BINARY, 255, ...long(1n << 53n)),
  "a message of 2^63 - 1 bytes": masked(
    128 | BINARY,
    255,
    ...long((1n << 63n) - 1n),
  ),
  "a message of 2^63 bytes": masked(128 | BINARY, 255, ...long(1n << 63n)),
  "a message of 2^64 - 1 bytes": masked(
    128 | BINARY,
    255,
    ...long((1n << 64n) - 1n),
  ),
  "a close of one byte": frame(CLOSE, Buffer.from([3])),
  "a close that says 1005": frame(CLOSE, Buffer.from([3, 237])),
  "a close that says 0": frame(CLOSE, Buffer.from([0, 0])),
  "a close with a reason that is no text": frame(
    CLOSE,
    Buffer.from([3, 232, 255]),
  ),
  "a request": Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
};

const floods: Record<string, Buffer> = {
  "pings": repeated(frame(PING, "x".repeat(100)), 200_000),
  "empty pings": repeated(frame(PING), 500_000),
  "pongs": repeated(frame(PONG, "x".repeat(100)), 200_000),
  "closes": repeated(frame(CLOSE), 500_000),
  "fragments of a byte": all(
    frame(TEXT, "x", false),
    repeated(frame(CONTINUATION, "x", false), 500_000),
  ),
  "fragments of nothing": all(
    frame(TEXT, "x", false),
    repeated(frame(CONTINUATION, "", false), 500_000),
  ),
};

clause(
  "H1",
  "frames that are none, floods of frames, upgrades that go wrong and pages of strangers cost nobody but who sent them",
  async ({ step, note, measured }) => {
    const start = async () => {
      const server = await startFixture();
      const bystander = await open(server);
      const client = await server.connect();
      await client.get("/");
      client.leave();
      return { server, bystander, before: await descriptors(server) };
    };
    const isUnharmed = async (
      { server, bystander, before }: Awaited<ReturnType<typeof start>>,
    ) => {
      await servesOn(bystander);
      await openSockets(server, 1);
      const now = await descriptors(server, before.length);
      assert(now.length <= before.length, now.join("\n"));
      server.signal("SIGTERM");
      assertEquals((await bystander.closed).code, 1001);
      await endedClean(server);
      const failed = server.lines.filter(({ json }) => json?.level === "error");
      assertEquals(failed, []);
    };

    await step("what is no frame ends its connection", async () => {
      const all = await start();
      for (const [what, bytes] of Object.entries(broken)) {
        const alone = await open(all.server);
        void alone.write(bytes);
        // In one packet with the handshake, it is there before the handlers are.
        const packed = await RawWebSocket.connect(
          all.server.url,
          "/ws/echo",
          {},
          bytes,
        );
        for (const socket of [alone, packed]) {
          if (isDeno && what === "an unmasked frame") {
            note("it takes frames that are not masked");
            await socket.message("hi");
            socket.leave();
            continue;
          }
          const { code } = await socket.closed;
          assert([1002, 1006, 1007, 1009].includes(code), `${what}: ${code}`);
          assertEquals(socket.messages.slice(1), [], `${what} was a message`);
        }
      }
      await isUnharmed(all);
    }, 30_000);

    for (const reads of [true, false]) {
      const how = reads ? "reads the answers" : "never reads";
      await step(`a flood from a client that ${how}`, async () => {
        const all = await start();
        const before = memoryOf(all.server.pid);
        let most = 0;
        for (const bytes of Object.values(floods)) {
          const socket = await open(all.server);
          if (!reads) socket.pause();
          await pour(socket, bytes);
          await servesOn(all.bystander);
          most = Math.max(most, memoryOf(all.server.pid) - before);
          socket.leave();
        }
        const grown = (most / 1e6).toFixed(0);
        measured(
          `frames by the 100,000, whose sender ${how}: ${grown} MB grown`,
        );
        assert(most < 100e6, `it grew by ${grown} MB`);
        await isUnharmed(all);
      }, 30_000);
    }

    await step("clients that announce 60 MiB, and that vanish", async () => {
      const all = await start();
      const before = memoryOf(all.server.pid);
      const announced = masked(128 | BINARY, 255, ...long(60n << 20n));
      const sockets = await Promise.all(
        Array.from({ length: 100 }, async (_, n) => {
          if (n % 4 === 0) {
            // Gone before it can be told that it has its WebSocket.
            const client = await all.server.connect();
            await client.write(upgradeBytes("/ws/echo"));
            client.leave();
            return;
          }
          const socket = await open(all.server);
          await socket.write(
            n % 4 === 1 ? announced : announced.subarray(0, n % 4),
          );
          return socket;
        }),
      );
      await servesOn(all.bystander);
      const grown = (memoryOf(all.server.pid) - before) / 1e6;
      assert(grown < 100, `it grew by ${grown.toFixed(0)} MB`);
      for (const socket of sockets) socket?.leave();
      await isUnharmed(all);
    });

    await step(
      "an upgrade whose handler or middleware fails after it",
      async () => {
        const all = await start();
        for (const what of ["throw", "answer", "timeout", "reject"]) {
          const path = `/ws/then/${what}`;
          if (isNode && what === "reject") {
            note(
              "it upgrades behind the handler, so that one that rejects is a 500",
            );
            assertEquals((await refusal(all.server, path)).status, 500);
          } else {
            // Once upgraded it is a WebSocket, whatever is answered then.
            const socket = await open(all.server, path);
            await servesOn(socket);
            socket.leave();
          }
          await servesOn(all.bystander);
        }
        if (!isNode) {
          await all.server.logged("WebSocket handler failed", {
            error: "no error at all",
          });
        }
        await openSockets(all.server, 1);
        await servesOn(all.bystander);
        all.server.signal("SIGTERM");
        await all.bystander.closed;
        await endedClean(all.server);
      },
    );

    await step(
      "a handshake in another spelling, and what it said",
      async () => {
        const all = await start();
        const socket = await RawWebSocket.connect(
          all.server.url,
          "/ws/echo?so",
          {
            Upgrade: "WebSocket",
            Connection: "keep-alive, Upgrade",
            Host: "ws.example",
          },
        );
        socket.send("who?");
        await socket.message(
          "GET /ws/echo ws.example http://ws.example/ws/echo?so",
        );
        socket.leave();
        // In one packet with the handshake.
        const early = await RawWebSocket.connect(
          all.server.url,
          "/ws/echo",
          {},
          frame(TEXT, "so early"),
        );
        await early.message("so early");
        early.leave();
        for (
          const headers of [
            { "Sec-WebSocket-Version": "12" },
            { "Sec-WebSocket-Key": "short" },
          ] as Record<string, string>[]
        ) {
          const { status } = await refusal(all.server, "/ws/echo", headers);
          assert(
            [400, 404, 426].includes(status),
            `${JSON.stringify(headers)}: ${status}`,
          );
        }
        await isUnharmed(all);
      },
    );

    await step("a page of another origin", async () => {
      const all = await start();
      const status = (path: string, headers: Record<string, string>) =>
        RawWebSocket.status(all.server.url, path, headers);
      const own = { Host: "ws.example:8080", Origin: "http://ws.example:8080" };
      const listed = { Origin: "https://app.example" };
      const foreign = [
        { Origin: "https://evil.example" },
        { Origin: "https://app.example.evil.example" },
        { Origin: "http://app.example" },
        { Origin: "null" },
        { ...own, Origin: "http://ws.example" },
      ];
      for (const path of ["/ws/echo", "/ws/origins"]) {
        assertEquals(await status(path, {}), 101, "no browser");
        assertEquals(await status(path, own), 101, "its own page");
        // Behind a proxy that ends TLS.
        const secure = { ...own, Origin: "https://ws.example:8080" };
        assertEquals(await status(path, secure), 101, "its own page, by TLS");
        for (const headers of foreign) {
          assertEquals(await status(path, headers), 403, headers.Origin);
        }
      }
      assertEquals(await status("/ws/origins", listed), 101);
      assertEquals(await status("/ws/echo", listed), 403);
      assertEquals(await status("/ws/any-origin", foreign[0]!), 101);
      const refused = await refusal(all.server, "/ws/echo", foreign[0]);
      if (isNode && text(refused) === "") {
        note("the refusal of an upgrade has no body");
      } else {
        assertEquals(
          refused.headers.get("content-type"),
          "application/problem+json",
        );
        assertEquals(JSON.parse(text(refused)).status, 403);
      }
      await isUnharmed(all);
      // For its own page, by TLS too, for the one that is listed, for no browser.
      assertEquals(all.server.printed("events made").length, 4);
    });
  },
);

clause(
  "D9",
  "a crowd of WebSockets that come back on the spot does not hold the drain",
  async ({ step }) => {
    await step(
      "closed in batches, each told 1001, and reconnecting",
      async () => {
        const server = await startFixture({
          SOCKET_BATCH: 20,
          DRAIN_TIMEOUT_MS: 8000,
        });
        const codes: number[] = [];
        let refused = 0;
        const clients = Array.from({ length: 100 }, async () => {
          for (let first = true;; first = false) {
            let socket: RawWebSocket;
            try {
              socket = await RawWebSocket.connect(server.url, "/ws/echo");
            } catch {
              return void refused++;
            }
            if (first) emitOpened();
            const { code } = await socket.closed;
            if (first) codes.push(code);
          }
        });
        let opened = 0, all = () => {};
        const emitOpened = () => ++opened === 100 && all();
        await new Promise<void>((resolve) => all = resolve);
        server.signal("SIGTERM");
        await Promise.all(clients);
        assertEquals(codes, Array(100).fill(1001));
        assertEquals(refused, 100);
        const { exit } = await endedClean(server);
        assertWithin(exit.msSinceSignal, 4000, "the end");
      },
    );
  },
);
