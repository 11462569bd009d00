/**
 * Requests that ask for another protocol. A server may ignore that (RFC 9110,
 * 7.8): then they are requests like any other, with their method, their body,
 * their place in the shutdown and the whole of their answer.
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { clause } from "../support/clause.ts";
import { assertDescriptors, startCounted } from "../support/descriptors.ts";
import {
  assertWithin,
  endedClean,
  isDeno,
  isNode,
  retiring,
  saysClose,
} from "../support/expect.ts";
import { isPattern, type RawClient, text } from "../support/raw_client.ts";
import { upgradeBytes } from "../support/raw_websocket.ts";
import { type ServerProcess, startFixture } from "../support/server_process.ts";

const asking = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
/** No HTTP: what a WebSocket's client says. */
const frame = Buffer.from("818200000000ffff", "hex");
/** A client's answer to 1001. */
const closeFrame = Buffer.from("88820000000003e9", "hex");

async function ask(server: ServerProcess, path: string): Promise<RawClient> {
  const client = await server.connect();
  await client.write(upgradeBytes(path));
  return client;
}

async function assertServes(server: ServerProcess): Promise<void> {
  const client = await server.connect();
  assertEquals(text(await client.get("/")), "hello");
  client.leave();
}

clause(
  "H1",
  "a request that asks for an upgrade is served as what it is, and leaves nothing behind",
  async ({ step, note }) => {
    await step("an ordinary route: its whole answer", async () => {
      const server = await startFixture();
      const client = await ask(server, "/conninfo");
      const response = await client.response();
      assertEquals(response.status, 200);
      assertMatch(text(response), /"remote"/);
      client.leave();
      const big = await ask(server, "/big?mb=3");
      assert(isPattern(await big.response(), 3_000_000));
      big.leave();
      const stream = await ask(server, "/events");
      await stream.received("hello");
      server.signal("SIGTERM");
      await stream.received("the server is leaving");
      stream.leave();
      const { report } = await endedClean(server);
      assertEquals(report.requests.inFlight, 1);
    });

    await step("an upload: its method and its body", async () => {
      const server = await startFixture();
      const client = await server.connect();
      await client.write(
        `POST /upload HTTP/1.1\r\nHost: localhost\r\n${asking}` +
          "Content-Length: 5\r\n\r\nhello",
      );
      const response = await client.response();
      if (isDeno) {
        note("a request with a body that asks for an upgrade is a 400");
        assertEquals(response.status, 400);
      } else {
        assertEquals([response.status, text(response)], [200, "5"]);
        await server.event("handling", { method: "POST", path: "/upload" });
      }
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("a list of protocols", async () => {
      const server = await startFixture();
      const client = await server.connect();
      await client.write(
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n" +
          "Upgrade: h2c, websocket\r\n\r\n",
      );
      assertEquals(text(await client.response()), "hello");
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step(
      "a stream that nobody takes to its end: 200 of them",
      async () => {
        const { server, before } = await startCounted();
        const many = 200;
        for (let at = 0; at < many; at += 20) {
          const clients = await Promise.all(
            Array.from({ length: 20 }, () => ask(server, "/endless")),
          );
          await Promise.all(clients.map((client) => client.received("tick")));
          for (const client of clients) client.leave();
        }
        // What the app would have sent on is told that nobody takes it.
        await server.event("nobody reads", {}, many);
        await assertDescriptors(server, before);
        server.signal("SIGTERM");
        const { report } = await endedClean(server);
        assertEquals(report.requests.inFlight, 0);
      },
      30_000,
    );

    await step(
      "refused, with bytes behind the answer: 200 of them",
      async () => {
        const server = await startFixture();
        const clients = await Promise.all(
          Array.from({ length: 200 }, () => ask(server, "/nowhere")),
        );
        for (const client of clients) {
          assertEquals((await client.response()).status, 404);
          void client.write(frame);
        }
        await assertServes(server);
        const half = clients.splice(0, 100);
        for (const client of half) client.leave();
        server.signal("SIGTERM");
        const { exit, report } = await endedClean(server);
        assertEquals(report.requests.inFlight, 0);
        assertWithin(exit.msSinceSignal, 2500, "the end");
        for (const client of clients) client.leave();
      },
    );

    await step("refused: no descriptor is left", async () => {
      const { server, before } = await startCounted();
      const clients = await Promise.all(
        Array.from({ length: 200 }, () => ask(server, "/nowhere")),
      );
      for (const client of clients) {
        assertEquals((await client.response()).status, 404);
        await client.write(frame);
        client.halfClose();
      }
      await Promise.all(clients.map(({ closed }) => closed));
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("bytes that come before the answer", async () => {
      const { server, before } = await startCounted();
      const client = await ask(server, "/slow?ms=300");
      await server.event("handling", { path: "/slow" });
      await client.write(frame);
      await Promise.race([client.response().catch(() => {}), client.closed]);
      client.leave();
      await assertServes(server);
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("another request in one packet with it", async () => {
      const server = await startFixture();
      const client = await server.connect();
      void client.write(
        upgradeBytes("/") + "GET /conninfo HTTP/1.1\r\nHost: localhost\r\n\r\n",
      );
      const first = await client.response();
      assertEquals(text(first), "hello");
      // Answered, or the client knows that it will not be: never neither.
      if (!saysClose(first)) {
        assertMatch(text(await client.response()), /"remote"/);
        client.leave();
      } else {
        assertEquals((await client.closed).how, "fin");
        note("it reads no request that comes in one packet behind such a one");
      }
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("a handshake that is none", async () => {
      const server = await startFixture();
      for (
        const [what, change] of [
          ["a key that is none", ["dGhlIHNhbXBsZSBub25jZQ==", "no"]],
          ["a version yet to come", ["Version: 13", "Version: 99"]],
          ["an upload", ["GET", "POST"]],
        ] as [string, [string, string]][]
      ) {
        const client = await server.connect();
        await client.write(upgradeBytes("/ws").replace(...change));
        const { status } = await client.received("");
        // Deno and Bun answer each in its own way; some of these they accept.
        if (isNode) assert([400, 404].includes(status), `${what}: ${status}`);
        client.leave();
      }
      await assertServes(server);
      server.signal("SIGTERM");
      await endedClean(server);
    });
  },
);

clause(
  "D7",
  "a client that leaves while the app considers its WebSocket stops counting",
  async ({ step }) => {
    for (const when of ["before", "after"]) {
      await step(`${when} the signal`, async () => {
        const { server, before } = await startCounted();
        const client = await ask(server, "/never");
        await server.event("handling", { path: "/never" });
        if (when === "before") {
          client.leave();
          await client.closed;
          if (!isDeno) await assertDescriptors(server, before);
        }
        server.signal("SIGTERM");
        await server.logged("shutdown began");
        client.leave();
        const { exit } = await endedClean(server);
        assertWithin(exit.msSinceSignal, 2000, "the end");
      });
    }
  },
);

clause(
  "D9",
  "a WebSocket that opens while the server drains is closed with 1001",
  async ({ step }) => {
    await step("on a kept connection", async () => {
      const server = await startFixture({ IDLE_GRACE_MS: 1000 });
      const client = await server.connect();
      await client.get("/");
      server.signal("SIGTERM");
      await server.logged(retiring);
      await client.write(upgradeBytes("/ws"));
      await client.received("server is shutting down");
      await client.write(closeFrame);
      assertEquals((await client.closed).how, "fin");
      await endedClean(server);
      await server.event("socket closed", { code: 1001 });
    });
  },
);
