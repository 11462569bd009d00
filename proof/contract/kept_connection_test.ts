/**
 * Kept connections across a drain, and those whose client or app does with them
 * what it should not.
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { clause } from "../support/clause.ts";
import { assertDescriptors, startCounted } from "../support/descriptors.ts";
import {
  assertWithin,
  delay,
  endedClean,
  isBun,
  isDeno,
  isNode,
  postHead,
  retiring,
  saysClose,
} from "../support/expect.ts";
import { memoryOf } from "../support/proc.ts";
import {
  RawClient,
  type RawResponse,
  requestBytes,
  text,
} from "../support/raw_client.ts";
import { type ServerProcess, startFixture } from "../support/server_process.ts";

const MB = 1_000_000;

interface Tally {
  answered: number;
  lost: string[];
}

/**
 * Sends one request after the other on a kept connection, each as soon as the
 * answer before it is whole, until the server says that it closes.
 */
async function keepAsking(
  server: ServerProcess,
  path: string,
  tally: Tally,
): Promise<void> {
  const client = await server.connect();
  for (let last = false; !last;) {
    let response: RawResponse;
    try {
      response = await client.get(path);
    } catch (error) {
      tally.lost.push((error as Error).message);
      return;
    }
    assertEquals(text(response), "drop 3\ndrop 2\ndrop 1\n");
    tally.answered++;
    last = saysClose(response);
  }
  assertEquals((await client.closed).how, "fin");
}

clause(
  "N2",
  "a busy pool with streamed answers loses no request on a kept connection",
  async ({ step, measured }) => {
    const restarts = 5, pool = 20;
    await step(`${restarts} restarts under ${pool} clients`, async () => {
      const tally: Tally = { answered: 0, lost: [] };
      for (let restart = 0; restart < restarts; restart++) {
        const server = await startFixture();
        // The answers of some are on their way at any moment.
        const clients = Array.from(
          { length: pool },
          (_, n) => keepAsking(server, `/drip?n=3&ms=${5 + n}`, tally),
        );
        await server.event("handled", {}, 5 * pool);
        server.signal("SIGTERM");
        await Promise.all(clients);
        await endedClean(server);
      }
      measured(`${tally.answered} answered, ${tally.lost.length} lost`);
      assertEquals(tally.lost, []);
    });
  },
);

clause(
  "D5",
  "a kept connection ends only after its client was told, and an early answer is the only one",
  async ({ step, note }) => {
    const next = async (env: Record<string, number>, path: string) => {
      const server = await startFixture(env);
      const client = await server.connect();
      const first = client.get(path);
      await client.received("drop");
      server.signal("SIGTERM");
      await server.logged(retiring);
      assertEquals((await first).whole, true);
      assert(!saysClose(await first), "its head was out before the signal");
      return { server, client, second: client.get("/") };
    };

    await step("the request behind an answer that was under way", async () => {
      const { server, client, second } = await next(
        { IDLE_GRACE_MS: 1000 },
        "/drip?n=3&ms=100",
      );
      assertEquals(text(await second), "hello");
      assert(saysClose(await second));
      assertEquals((await client.closed).how, "fin");
      await endedClean(server);
    });

    await step("the one behind an answer longer than idleGrace", async () => {
      const { server, client, second } = await next(
        { IDLE_GRACE_MS: 150 },
        "/drip?n=8&ms=100",
      );
      if (isNode) {
        assertEquals(text(await second), "hello");
        assert(saysClose(await second));
      } else {
        note(
          "behind an answer that began before the signal, and took longer than " +
            "idleGrace after it, no more request is answered",
        );
        await second.catch(() => {});
      }
      await client.closed;
      await endedClean(server);
    });

    await step("no request comes behind it", async () => {
      const server = await startFixture({ IDLE_GRACE_MS: 200 });
      const client = await server.connect();
      const response = client.get("/drip?n=3&ms=100");
      await client.received("drop");
      server.signal("SIGTERM");
      await response;
      assertEquals((await client.closed).how, "fin");
      const { exit } = await endedClean(server);
      assertWithin(exit.at - client.lastByteAt, 1500, "the end");
    });

    // The app has begun to read, and answers before the rest is there.
    await step("an early answer, and an upload that never ends", async () => {
      if (!isNode) return; // the others let such a client be
      const { server, before } = await startCounted({
        LIMITS: JSON.stringify({ requestTimeout: 4000, headTimeout: 2000 }),
      });
      const client = await server.connect();
      await client.write(
        postHead("/early-touched", MB) + "a little of it",
      );
      assertEquals(text(await client.response()), "read a little");
      // More than its reader has asked for, and not at once: there it stops.
      await delay(100);
      await client.write(Buffer.alloc(300_000));
      assertEquals((await client.closed).how, "fin");
      assertEquals(client.responses.length, 1, "it was answered twice");
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("an early answer, and all of the upload behind it", async () => {
      const server = await startFixture();
      const client = await server.connect();
      for (let upload = 0, last = false; upload < 20 && !last; upload++) {
        await client.write(postHead("/early-touched", 2 * MB) + "a little");
        const early = await client.response();
        assertEquals(text(early), "read a little");
        await client.write(Buffer.alloc(2 * MB - 8));
        last = saysClose(early);
        if (!last) assertEquals(text(await client.get("/")), "hello");
      }
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step(
      "responses that the app has given another prototype",
      async () => {
        if (!isNode) return;
        const server = await startFixture();
        const clients = await Promise.all(
          Array.from({ length: 20 }, () => server.connect()),
        );
        for (const client of clients) {
          for (let n = 0; n < 10; n++) {
            assertEquals(
              text(await client.get("/express")),
              "IncomingMessage,ServerResponse",
            );
          }
        }
        server.signal("SIGTERM");
        const { exit, report } = await endedClean(server);
        assertEquals(report.requests.inFlight, 0);
        assertWithin(exit.msSinceSignal, 1500, "the end");
        for (const client of clients) client.leave();
      },
    );

    await step("a response that HTTP cannot carry", async () => {
      if (isDeno) return note("a header that HTTP cannot carry ends Deno");
      const server = await startFixture({ BAD_HEADER: 1 });
      const client = await server.connect();
      await client.write(requestBytes("GET", "/bad"));
      await Promise.race([client.closed, client.received("")]);
      const other = await server.connect();
      assertEquals(text(await other.get("/")), "hello");
      for (const one of [client, other]) one.leave();
      server.signal("SIGTERM");
      const { code } = await server.exited;
      assertEquals(code, 0);
    });
  },
);

clause(
  "H1",
  "pipelined requests that nobody answers yet take a bounded memory",
  async ({ step, note, measured }) => {
    await step("50,000 on one connection", async () => {
      if (isBun) return note("a pipelined request ends the connection");
      const { server } = await startCounted();
      const other = await server.connect();
      for (let n = 0; n < 100; n++) await other.get("/");
      const before = memoryOf(server.pid);
      const client = await RawClient.dial(server.url);
      const many = requestBytes("GET", "/hang").toString().repeat(50_000);
      void client.write(many);
      await server.event("hanging");
      // It reads on between these, if it does.
      for (let n = 0; n < 300; n++) await other.get("/");
      const grown = (memoryOf(server.pid) - before) / MB;
      measured(`50,000 pipelined requests took ${grown.toFixed(0)} MB`);
      assert(grown < 100, `${grown} MB`);
      for (const one of [client, other]) one.leave();
      server.signal("SIGTERM");
      await server.exited;
    }, 30_000);

    await step("all are answered when their turn comes", async () => {
      if (isBun) return note("a pipelined request ends the connection");
      const server = await startFixture();
      const client = await server.connect();
      const many = 5000;
      void client.write(
        requestBytes("GET", "/pause?ms=1").toString().repeat(many),
      );
      for (let n = 0; n < many; n++) {
        assertEquals(text(await client.response()), "paused");
      }
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    }, 30_000);
  },
);
