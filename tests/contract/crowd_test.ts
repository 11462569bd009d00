/**
 * Many at once, and long quiet ones: what only numbers and time show.
 */
import { spawnSync } from "node:child_process";
import { assertEquals, assertMatch } from "@std/assert";
import { clause, Skip } from "./clause.ts";
import { assertWithin, endedClean } from "./expect.ts";
import { text } from "./raw_client.ts";
import { RawWebSocket } from "./raw_websocket.ts";
import { runtime, startFixture } from "./server_process.ts";

const SOCKETS = 2000;
const STREAMS = 500;
/** Of the server, and of this process: one per connection. */
const DESCRIPTORS = SOCKETS + STREAMS + 200;
/** As the fixture has it: a thousand at a time, every 100 ms. */
const BATCHES = (SOCKETS / 1000 - 1) * 100;

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
    await step("SIGTERM", async () => {
      const server = await startFixture({ DRAIN_TIMEOUT_MS: 10_000 });
      const sockets = await inGroups(SOCKETS, 100, async () => {
        const socket = await RawWebSocket.connect(server.url, "/ws");
        await socket.message("welcome");
        return socket;
      });
      const streams = await inGroups(STREAMS, 100, async () => {
        const client = await server.connect();
        void client.send("GET", "/stream");
        await client.received("event: hello");
        return client;
      });
      const ends = streams.map((client) => client.response());
      server.signal("SIGTERM");
      const closed = await Promise.all(sockets.map(({ closed }) => closed));
      const codes = new Set(closed.map(({ code, how }) => `${code} ${how}`));
      assertEquals([...codes], ["1001 fin"]);
      for (const response of await Promise.all(ends)) {
        assertMatch(text(response), /event: shutdown\ndata: .+\n\n$/);
      }
      const { exit, report } = await endedClean(server);
      assertEquals(report.sockets, { open: SOCKETS, cut: 0 });
      assertEquals(report.requests.completed, STREAMS);
      measured(`all of them: ${exit.msSinceSignal.toFixed(0)} ms`);
      assertWithin(exit.msSinceSignal, BATCHES + 2000, "the end");
    });
  },
);

clause(
  "N4",
  "a heartbeat keeps a quiet event stream open beyond every timeout",
  async ({ step }) => {
    await step("quiet for five seconds, under limits of two", async () => {
      const [idleTimeout, requestTimeout, writeTimeout] = [2000, 2000, 2000];
      const limits = { idleTimeout, requestTimeout, writeTimeout };
      const server = await startFixture({ LIMITS: JSON.stringify(limits) });
      const [beating, silent] = [
        await server.connect(),
        await server.connect(),
      ];
      void silent.send("GET", "/stream?heartbeat=60000");
      await silent.received("event: hello");
      void beating.send("GET", "/stream?heartbeat=500");
      // Ten heartbeats are five seconds, by the server's own clock.
      await beating.received(":\n\n".repeat(10));
      // Bun, whose shortest timeout is five, cuts the silent one. Waiting for
      // that, here, is what makes the other one's life worth something.
      if (runtime === "bun") {
        await silent.closed;
        const beats = text(beating.responses[0]!).split(":\n\n").length;
        await beating.received(":\n\n".repeat(beats + 2));
      } else silent.leave();
      server.signal("SIGTERM");
      assertMatch(text(await beating.response()), /event: shutdown\n/);
      await endedClean(server);
    });
  },
);
