/**
 * Many at once, and long quiet ones: what only numbers and time show.
 */
import { spawnSync } from "node:child_process";
import { assertEquals, assertMatch } from "@std/assert";
import { makeCertificate } from "../support/certificate.ts";
import { clause, Skip } from "../support/clause.ts";
import { assertWithin, bestOf, endedClean, isBun } from "../support/expect.ts";
import { text } from "../support/raw_client.ts";
import { RawHttp2 } from "../support/raw_http2.ts";
import { RawWebSocket } from "../support/raw_websocket.ts";
import { type Env, startFixture } from "../support/server_process.ts";

const SOCKETS = 2000;
const STREAMS = 500;
/** Of the server, and of this process: one per connection. */
const DESCRIPTORS = SOCKETS + STREAMS + 200;
/** As the fixture has it: a thousand at a time, every 100 ms. */
const BATCHES = (SOCKETS / 1000 - 1) * 100;

const { cert, key } = makeCertificate();
const overTls: Env = { TLS_CERT: cert, TLS_KEY: key };

/** What a client must have seen of a stream that the server ended. */
const LAST_EVENT = /event: shutdown\ndata: .+\nretry: \d+\n\n$/;

/** So many at a time, as a backlog of connections takes them. */
async function inGroups<T>(
  count: number,
  size: number,
  make: () => Promise<T>,
): Promise<T[]> {
  const all: T[] = [];
  while (all.length < count) {
    all.push(...await Promise.all(Array.from({ length: size }, make)));
  }
  return all;
}

clause(
  "N3",
  `${SOCKETS} WebSockets and ${STREAMS} event streams are closed within two seconds, each told why`,
  async ({ step, measured }) => {
    // Deno, Bun and Node raise the soft limit to the hard one by themselves.
    const limit = spawnSync("sh", ["-c", "ulimit -Hn"]).stdout.toString();
    if (Number(limit) < DESCRIPTORS) {
      throw new Skip(`ulimit -Hn is ${limit.trim()}, less than ${DESCRIPTORS}`);
    }
    // Over TLS all clients, in one process here, cost too much where the machine
    // is busy: a quarter of them.
    const crowds: [string, Env, number, number][] = [
      ["", {}, SOCKETS, STREAMS],
      [" over TLS, to 500 and 125", overTls, SOCKETS / 4, STREAMS / 4],
    ];
    for (const [over, env, socketCount, streamCount] of crowds) {
      await step(`SIGTERM${over}`, async () => {
        // All clients are in one process, on the server's machine.
        measured(
          await bestOf(3, BATCHES + 2000, `the end of all${over}`, async () => {
            const server = await startFixture({
              ...env,
              DRAIN_TIMEOUT_MS: 10_000,
            });
            const sockets = await inGroups(socketCount, 100, async () => {
              const socket = await RawWebSocket.connect(server.url, "/ws");
              await socket.message("welcome");
              return socket;
            });
            const streams = await inGroups(streamCount, 25, async () => {
              const client = await server.connect();
              void client.send("GET", "/stream");
              await client.received("event: hello");
              return client;
            });
            const ends = streams.map((client) => client.response());
            server.signal("SIGTERM");
            const closed = await Promise.all(
              sockets.map(({ closed }) => closed),
            );
            const codes = new Set(
              closed.map(({ code, how }) => `${code} ${how}`),
            );
            assertEquals([...codes], ["1001 fin"]);
            for (const response of await Promise.all(ends)) {
              assertMatch(text(response), LAST_EVENT);
            }
            const { exit, report } = await endedClean(server);
            assertEquals(report.sockets, { open: socketCount, cut: 0 });
            assertEquals(report.requests.completed, streamCount);
            return exit.msSinceSignal;
          }, 1),
        );
      }, 45_000);
    }

    await step(`${STREAMS} streams over ten HTTP/2 connections`, async () => {
      const env = { ...overTls, DRAIN_TIMEOUT_MS: 10_000 };
      const server = await startFixture(env);
      const clients = await inGroups(10, 10, () => RawHttp2.dial(server.url));
      const streams = await inGroups(STREAMS / 10, 5, async () => {
        const asked = clients.map((client) => {
          const stream = client.request("GET", "/stream");
          return { client, stream };
        });
        for (const { client, stream } of asked) {
          await client.brings(stream, "event: hello");
        }
        return asked;
      });
      server.signal("SIGTERM");
      for (const { client, stream } of streams.flat()) {
        const response = await client.response(stream);
        assertMatch(text(response), LAST_EVENT);
      }
      for (const client of clients) {
        assertEquals(await client.goaway(), 2 * STREAMS / 10 - 1);
        client.leave();
      }
      const { exit, report } = await endedClean(server);
      assertEquals(report.requests.completed, STREAMS);
      measured(`all over HTTP/2: ${exit.msSinceSignal.toFixed(0)} ms`);
      assertWithin(exit.msSinceSignal, 2000, "the end");
    });
  },
);

clause(
  "N4",
  "a heartbeat keeps a quiet event stream open beyond every timeout",
  async ({ step }) => {
    const [idleTimeout, requestTimeout, writeTimeout] = [2000, 2000, 2000];
    const limits = { idleTimeout, requestTimeout, writeTimeout };
    const LIMITS = JSON.stringify(limits);
    const beating = "/stream?heartbeat=500";
    const silent = "/stream?heartbeat=60000";
    /** By the server's own clock, five seconds. */
    const tenBeats = ":\n\n".repeat(10);

    /** `beside` has ten beats too, and sees the end. */
    const quiet = async (
      env: Env,
      beside: (url: string) => Promise<() => Promise<void>>,
    ) => {
      const server = await startFixture({ ...env, LIMITS });
      const [beats, none] = [await server.connect(), await server.connect()];
      const others = beside(server.url);
      void none.send("GET", silent);
      await none.received("event: hello");
      void beats.send("GET", beating);
      await beats.received(tenBeats);
      // Bun, whose shortest timeout is five, cuts the silent one. Waiting for
      // that, here, is what makes the other one's life worth something.
      if (isBun) {
        await none.closed;
        const count = text(beats.responses[0]!).split(":\n\n").length;
        await beats.received(":\n\n".repeat(count + 2));
      } else none.leave();
      const end = await others;
      server.signal("SIGTERM");
      assertMatch(text(await beats.response()), LAST_EVENT);
      await end();
      await endedClean(server);
    };

    await step(
      "quiet for five seconds, under limits of two",
      () => quiet({}, () => Promise.resolve(() => Promise.resolve())),
    );

    await step(
      "the same over TLS, and over HTTP/2",
      () =>
        quiet(overTls, async (url) => {
          const client = await RawHttp2.dial(url);
          const stream = client.request("GET", beating);
          await client.brings(stream, tenBeats);
          return async () => {
            // Ended by the server, and by nothing before.
            assertMatch(text(await client.response(stream)), LAST_EVENT);
            await client.goaway();
            client.leave();
          };
        }),
    );
  },
);
