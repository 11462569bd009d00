/**
 * What a client may take of the server: time, bytes and connections. Where a
 * runtime has no such limit, what happens instead is asserted as well, so that
 * the day it gets one does not go unnoticed.
 */
import { Buffer } from "node:buffer";
import * as net from "node:net";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { clause } from "../support/clause.ts";
import {
  completes,
  endedClean,
  isBun,
  isDeno,
  isNode,
  postHead,
  sendInPieces,
} from "../support/expect.ts";
import { memoryOf } from "../support/proc.ts";
import {
  Cut,
  type RawClient,
  type RawResponse,
  requestBytes,
  text,
} from "../support/raw_client.ts";
import { type ServerProcess, startFixture } from "../support/server_process.ts";

const halfHead = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
const chunkedHead = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\n` +
  "Transfer-Encoding: chunked\r\n\r\n";
const mebibyteChunk = Buffer.concat([
  Buffer.from("100000\r\n"),
  Buffer.alloc(1_048_576, "x"),
  Buffer.from("\r\n"),
]);

/** Small, and apart by more than the second between two of Node's checks. */
const limits = {
  headTimeout: 400,
  requestTimeout: 1600,
  writeTimeout: 1000,
  idleTimeout: 3000,
};

/** Each in its own way takes longer than it should. */
async function openSlowClients(server: ServerProcess) {
  const openedAt = performance.now();
  const start = async (bytes: string, dribble?: string) => {
    const client = await server.connect();
    if (bytes) await client.write(bytes);
    if (!dribble) return client;
    const timer = setInterval(() => void client.write(dribble), 100);
    void client.closed.then(() => clearInterval(timer));
    return client;
  };
  const heads = [
    await start(""),
    await start(halfHead),
    await start(halfHead, "x"),
  ];
  const bodies = [
    await start(postHead("/upload", 1000) + "half of it"),
    await start(postHead("/upload", 1000), "x"),
    await start(chunkedHead("/upload"), "1\r\nx\r\n"),
  ];
  const stalled = await start("");
  stalled.pause();
  await stalled.send("GET", "/big-stream");
  const idle = await start("");
  await idle.get("/");
  const quiet = await start("");
  await quiet.send("GET", "/events");
  await quiet.received("hello");
  return { openedAt, heads, bodies, stalled, idle, quiet };
}

/** The connection ended, and not before `ms` had passed since `from`. */
async function endsAfter(
  ms: number,
  from: number,
  client: RawClient,
): Promise<void> {
  const { at } = await client.closed;
  assert(at - from > ms - 20, `it ended after ${(at - from).toFixed(0)} ms`);
}

clause(
  "L1",
  "slow heads, slow bodies, idle connections and stalled readers are let go, slow handlers are not; heads and connections have a limit",
  async ({ step, note, measured }) => {
    await step("time", async () => {
      const server = await startFixture({ LIMITS: JSON.stringify(limits) });
      const clients = await openSlowClients(server);
      const { openedAt, heads, bodies, stalled, idle, quiet } = clients;
      const slow = await server.connect();
      const answer = slow.get(
        `/slow?ms=${isBun ? 12_000 : limits.writeTimeout + 3000}`,
      );

      if (isNode) {
        for (const client of heads) {
          await endsAfter(limits.headTimeout, openedAt, client);
          assertEquals(client.responses[0]?.status, 408, "of a slow head");
        }
        // It has been idle for longer than a head may take.
        assertEquals(text(await idle.get("/")), "hello");
        const idleSince = idle.lastByteAt;
        for (const { ending } of bodies) {
          assertEquals(ending, undefined, "a body has more time");
        }
        for (const client of bodies) {
          await endsAfter(limits.requestTimeout, openedAt, client);
          assertEquals(client.responses[0]?.status, 408, "of a slow body");
        }
        const { at } = await server.event("reader cut");
        assert(at - openedAt > limits.writeTimeout, "cut too early");
        assertEquals(text(await answer), "slow but whole");
        await endsAfter(limits.idleTimeout, idleSince, idle);
        assertEquals(quiet.ending, undefined, "a quiet stream goes on");
      } else if (isBun) {
        note(
          "one clock of 5 s or more for the body, the idle and the stalled " +
            "connection, which also cuts a handler and a quiet stream that " +
            "take longer; a head has 12 s, whatever is set",
        );
        await assertRejects(() => answer, Cut);
        for (const client of [...bodies, idle, quiet, slow]) {
          await endsAfter(limits.idleTimeout, openedAt, client);
        }
        await server.event("reader cut");
        for (const client of heads) {
          assertEquals(client.ending, undefined, "a head has more time");
        }
        await Promise.all(heads.map(({ closed }) => closed));
        const ends = heads.map(({ ending }) => ending!.at - openedAt);
        measured(
          `half a head was let go after ${(ends[0]! / 1000).toFixed(1)} s`,
        );
      } else {
        note(
          "none of the times: docs/limits.md says what to put in front of it",
        );
        assertEquals(text(await answer), "slow but whole");
        for (const client of [...heads, ...bodies, stalled, idle, quiet]) {
          assertEquals(client.ending, undefined, "Deno has a time limit");
        }
        assertEquals(server.printed("reader cut").length, 0);
        assertEquals(text(await idle.get("/")), "hello");
        await heads[1]!.write("done\r\n\r\n");
        assertEquals(text(await heads[1]!.response()), "hello");
        [...heads, ...bodies].forEach((client) => client.leave());
      }

      stalled.resume();
      if (isDeno) assert((await stalled.response()).whole, "read in the end");
      else {
        await stalled.closed;
        assert(!stalled.responses[0]?.whole, "its response is not whole");
      }
      server.signal("SIGTERM");
      await endedClean(server);
    }, 30_000); // Bun's clock for a head takes 12 s

    await step("the size of a head", async () => {
      const server = await startFixture({ LIMITS: '{"headSize":4096}' });
      const passes = async (size: number) => {
        const client = await server.connect();
        const headers = { "X-Long": "x".repeat(size) };
        void client.send("GET", "/", { headers });
        // A server that does not read on may lose its answer to a reset.
        const status = await client.response().then(
          ({ status }) => status,
          () => 431,
        );
        if (status !== 200) await client.closed;
        client.leave();
        assert([200, 400, 431].includes(status), `its answer is ${status}`);
        return status === 200;
      };
      assert(await passes(3_000));
      assertEquals(await passes(6_000), !isNode);
      if (isBun) {
        note("a head may have 16 KiB, whatever is set");
        assert(await passes(15_000));
        assert(!await passes(17_000));
      } else if (isDeno) {
        note("a head may have about 64 KiB, whatever is set");
        assert(await passes(60_000));
        assert(!await passes(140_000));
      }
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("the number of connections", async () => {
      const server = await startFixture({ LIMITS: '{"connections":3}' });
      const clients: RawClient[] = [];
      for (let n = 0; n < 3; n++) {
        const client = await server.connect();
        await client.get("/");
        clients.push(client);
      }
      const one = await server.connect();
      const answer = one.get("/").then(text, () => "nothing");
      if (isNode) {
        assertEquals(await answer, "nothing", "one too many");
        clients[0]!.leave();
        // Nothing tells from outside when the server has heard of that.
        let next = "nothing";
        while (next === "nothing") {
          const client = await server.connect();
          next = await client.get("/").then(text, () => "nothing");
          client.leave();
        }
        assertEquals(next, "hello");
      } else {
        note("no limit of connections but the system's of open files");
        assertEquals(await answer, "hello");
      }
      server.signal("SIGTERM");
      await endedClean(server);
    });
  },
);

/** The refusal is a problem, and it is all there. */
function assertTooLarge(response: RawResponse, limit = 1_000_000): void {
  assertEquals(response.status, 413);
  const type = response.headers.get("content-type");
  assertEquals(type, "application/problem+json");
  assertEquals(JSON.parse(text(response)), {
    type: "about:blank",
    title: "Content Too Large",
    status: 413,
    detail: `The request body may have up to ${limit} bytes.`,
  });
}

/** The connection serves the next request, or it has ended in good order. */
async function isUsableOrClosed(client: RawClient): Promise<void> {
  try {
    assertEquals(text(await client.get("/")), "hello");
  } catch (error) {
    if (!(error instanceof Cut)) throw error;
    assertEquals(client.ending?.how, "fin", "how the connection ended");
  }
  client.leave();
}

clause(
  "L2",
  "a body beyond its limit is a 413 that the client sees, however it sends; a route may allow itself more",
  async ({ step, measured }) => {
    const five = Buffer.alloc(5_000_000, "x");
    const fiveChunked = [...Array(5).fill(mebibyteChunk), "0\r\n\r\n"];

    const refused: [string, (client: RawClient) => Promise<unknown>][] = [
      ["5 MB with a length", async (client) => {
        await client.write(postHead("/limited/upload", five.length));
        await client.write(five);
      }],
      ["5 MB in chunks", async (client) => {
        await client.write(chunkedHead("/limited/upload"));
        for (const chunk of fiveChunked) await client.write(chunk);
      }],
      // @hono/node-server closes 500 ms after an answer.
      ["5 MB with a length, for 1.5 s", async (client) => {
        await client.write(postHead("/limited/upload", five.length));
        await sendInPieces(client, five, 15, 100);
      }],
      ["5 MB in chunks, for 1.5 s", async (client) => {
        await client.write(chunkedHead("/limited/upload"));
        for (const chunk of fiveChunked) {
          await sendInPieces(client, Buffer.from(chunk), 3, 100);
        }
      }],
    ];
    await step("whoever sends all of it first, and then reads", async () => {
      const server = await startFixture();
      await Promise.all(refused.map(async ([what, send]) => {
        const client = await server.connect();
        client.pause();
        await send(client);
        client.resume();
        const response = await client.response().catch((error) => {
          throw new Error(`${what}: ${error.message}`);
        });
        assertTooLarge(response);
        await isUsableOrClosed(client);
      }));
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("whoever asks first (Expect: 100-continue)", async () => {
      const server = await startFixture();
      const ask = async (length: number) => {
        const client = await server.connect();
        const headers = {
          Expect: "100-continue",
          "Content-Length": `${length}`,
        };
        await client.send("POST", "/limited/upload", { headers });
        return client;
      };
      const small = await ask(5);
      await small.write("hello");
      assertEquals(text(await small.response()), "5");
      const large = await ask(five.length);
      assertTooLarge(await large.response());
      // It may send what it announced all the same.
      await large.write(five);
      await isUsableOrClosed(large);
      small.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("up to the limit, and a route's own", async () => {
      const server = await startFixture();
      const post = async (path: string, size: number, chunked: boolean) => {
        const client = await server.connect();
        if (chunked) {
          const body = `${size.toString(16)}\r\n${"x".repeat(size)}\r\n`;
          void client.write(chunkedHead(path) + body + "0\r\n\r\n");
        } else {
          const body = "x".repeat(size);
          void client.write(requestBytes("POST", path, { body }));
        }
        const response = await client.response();
        client.leave();
        return response;
      };
      for (const chunked of [false, true]) {
        for (
          const [path, limit] of [
            ["/limited/upload", 1_000_000],
            ["/limited/more", 6_000_000],
            ["/limited/less", 1000],
          ] as const
        ) {
          const whole = await post(path, limit, chunked);
          assertEquals(text(whole), String(limit));
          assertTooLarge(await post(path, limit + 1, chunked), limit);
        }
      }
      server.signal("SIGTERM");
      await endedClean(server);
    });

    for (const length of [undefined, five.length]) {
      const how = length ? "with a length" : "in chunks";
      await step(
        `an upload ${how} that goes on while the server drains`,
        () =>
          completes(async (client) => {
            await client.write(
              length
                ? postHead("/limited/upload-late", length)
                : chunkedHead("/limited/upload"),
            );
            client.pause();
            return await client.response();
          }, {
            check: assertTooLarge,
            limit: 2500,
            whileDraining: async (client) => {
              if (length) await sendInPieces(client, five, 10, 100);
              else for (const chunk of fiveChunked) await client.write(chunk);
              client.resume();
            },
          }),
      );
    }

    await step("an endless one takes no memory", async () => {
      const server = await startFixture();
      const before = memoryOf(server.pid);
      // Half open, or the end that the server sends would end it.
      const { port } = server;
      const options = { port, host: "127.0.0.1", allowHalfOpen: true };
      const client = net.connect(options);
      client.on("error", () => {});
      // A client that only writes may come late to its reading.
      const received = new Promise<string>((resolve) =>
        client.on("data", (data) => resolve(Buffer.from(data).toString()))
      );
      client.write(chunkedHead("/limited/upload"));
      for (let sent = 0; sent < 400; sent++) {
        await new Promise<void>((resolve, reject) =>
          client.write(
            mebibyteChunk,
            (error) => error ? reject(error) : resolve(),
          )
        );
      }
      const grown = (memoryOf(server.pid) - before) / 1e6;
      measured(`after 400 MiB the server had grown by ${grown.toFixed(0)} MB`);
      assert(grown < 250, `it grew by ${grown.toFixed(0)} MB`);
      assertMatch(await received, /^HTTP\/1\.1 413 /);
      client.destroy();
      server.signal("SIGTERM");
      await endedClean(server);
    });
  },
);
