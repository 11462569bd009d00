/**
 * Clients that mean no good, or know no better. None may end the process, learn
 * of its insides, keep a descriptor, or delay the shutdown beyond its deadlines.
 */
import { Buffer } from "node:buffer";
import * as net from "node:net";
import * as tls from "node:tls";
import { assert, assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { makeCertificate } from "../support/certificate.ts";
import { clause } from "../support/clause.ts";
import {
  assertDescriptors,
  counts,
  descriptors,
  startCounted,
} from "../support/descriptors.ts";
import {
  assertWithin,
  delay,
  ended,
  endedClean,
  isBun,
  isDeno,
  isNode,
  postHead,
} from "../support/expect.ts";
import {
  RawClient,
  type RawResponse,
  requestBytes,
  text,
} from "../support/raw_client.ts";
import {
  root,
  type ServerProcess,
  startFixture,
} from "../support/server_process.ts";

const host = "Host: localhost\r\n";
const get = (target: string, headers = host) =>
  `GET ${target} HTTP/1.1\r\n${headers}\r\n`;
const post = (headers: string, body: string) =>
  `POST /upload HTTP/1.1\r\n${host}${headers}\r\n${body}`;
const chunked = "Transfer-Encoding: chunked\r\n";
const smuggled = get("/slow?smuggled");

/** What is no HTTP, or could be read in two ways: it is not served, ever. */
const malformed: Record<string, string> = {
  "Content-Length and Transfer-Encoding": post(
    `Content-Length: 5\r\n${chunked}`,
    `0\r\n\r\n${smuggled}`,
  ),
  "two Content-Lengths": post(
    "Content-Length: 0\r\nContent-Length: 40\r\n",
    smuggled,
  ),
  "a list of Content-Lengths": post("Content-Length: 0, 40\r\n", smuggled),
  "a negative Content-Length": post("Content-Length: -5\r\n", "hello"),
  "a signed Content-Length": post("Content-Length: +5\r\n", "hello"),
  "a Content-Length beyond all numbers": post(
    "Content-Length: 99999999999999999999999\r\n",
    "hello",
  ),
  "an unknown Transfer-Encoding": post(
    "Transfer-Encoding: xchunked\r\n",
    `0\r\n\r\n${smuggled}`,
  ),
  "chunked, and then identity": post(
    "Transfer-Encoding: chunked, identity\r\n",
    `0\r\n\r\n${smuggled}`,
  ),
  "a space before the colon": post(
    "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
    `0\r\n\r\n${smuggled}`,
  ),
  "a chunk size that is no number": post(chunked, "zz\r\nhello\r\n0\r\n\r\n"),
  "a chunk size with 0x": post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"),
  "a chunk size beyond all numbers": post(
    chunked,
    "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
  ),
  "a chunk that is longer than its size": post(
    chunked,
    `3\r\nhello\r\n0\r\n\r\n${smuggled}`,
  ),
  "a chunk extension without end": post(chunked, `5;${"x".repeat(100_000)}`),
  "a NUL in the target": get("/a\0b"),
  "a NUL in a header": get("/", `${host}X: a\0b\r\n`),
  "a lone CR in a header": get("/", `${host}X: a\rY: b\r\n`),
  "a folded header": get("/", `${host}X: a\r\n b\r\n`),
  "a target without a slash": get("slow"),
  "a target of 200 KB": get("/" + "x".repeat(200_000)),
  "a header without end": get("/").slice(0, -2) + `X: ${"x".repeat(300_000)}`,
  "5,000 headers": get("/", host + "X-Many: and many more\r\n".repeat(5000)),
  "HTTP/9.9": `GET / HTTP/9.9\r\n${host}\r\n`,
  "a TLS hello where none is expected": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc" +
    "\x03\x03" + "x".repeat(100) + "\r\n\r\n",
  "garbage behind a good request": get("/") + "\x16\x03\x01garbage\r\n\r\n",
};

/** What is HTTP, if barely: some answer below 500, the same connection or not. */
const odd: Record<string, { bytes: string; statuses: number[] }> = {
  "an absolute target": { bytes: get("http://localhost/"), statuses: [200] },
  "an absolute target elsewhere": {
    bytes: get("http://other.example/livez"),
    statuses: [200],
  },
  "an absolute target that is no URL": {
    bytes: get("http://[/"),
    statuses: isNode ? [400] : [200],
  },
  "OPTIONS *": {
    bytes: `OPTIONS * HTTP/1.1\r\n${host}\r\n`,
    statuses: isDeno ? [404] : [400],
  },
  "GET *": { bytes: get("*"), statuses: [400] },
  "an encoded NUL": { bytes: get("/a%00b"), statuses: [404] },
  "what cannot be decoded": { bytes: get("/%zz%ff"), statuses: [404] },
  "a target of 10 KB": {
    bytes: get("/" + "x".repeat(10_000)),
    statuses: [404],
  },
  "an expectation that nobody can meet": {
    bytes: post("Expect: the moon\r\nContent-Length: 5\r\n", "hello"),
    statuses: isNode ? [417] : [200],
  },
  "no Host": { bytes: get("/", ""), statuses: isDeno ? [200] : [400] },
  "no Host in HTTP/1.0": {
    bytes: "GET / HTTP/1.0\r\n\r\n",
    statuses: isBun ? [400] : [200],
  },
  "two Hosts": {
    bytes: get("/", host + "Host: other\r\n"),
    statuses: isBun ? [200] : [400],
  },
  "CONNECT": {
    bytes: `CONNECT / HTTP/1.1\r\n${host}\r\n`,
    statuses: isBun ? [404] : [400],
  },
  "an upgrade to HTTP/2": {
    bytes: get("/", `${host}Connection: Upgrade\r\nUpgrade: h2c\r\n`),
    statuses: [200],
  },
  // Java's client asks for it with its first request, body and all.
  "an upload that would upgrade to HTTP/2": {
    bytes: post(
      "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n",
      "hello",
    ),
    statuses: isDeno ? [400] : [200],
  },
  "a WebSocket where there is none": {
    bytes: get(
      "/",
      `${host}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
        "Sec-WebSocket-Version: 13\r\n",
    ),
    statuses: [200],
  },
  "a WebSocket of a version yet to come": {
    bytes: get(
      "/ws",
      `${host}Connection: Upgrade\r\nUpgrade: websocket\r\n` +
        "Sec-WebSocket-Key: no\r\nSec-WebSocket-Version: 99\r\n",
    ),
    statuses: isNode ? [400] : [404],
  },
};

/** Hosts that no URL can have; some of them look like a path. */
const noHosts = [
  "a b",
  "localhost/livez?",
  "localhost/livez#",
  "user@localhost/livez?",
  "a<>b",
];

/** Nothing of ours is in the response: no stack, no path, no message. */
function assertTellsNothing(response: RawResponse): void {
  const all = [...response.headers].flat().join("\n") + text(response);
  assertNotMatch(
    all,
    /\n\s+at |[\w-]\.(ts|mjs|js)\b|node_modules|file:|secret/,
  );
  assert(!all.includes(root), all);
}

async function assertServes(server: ServerProcess): Promise<void> {
  const client = await server.connect();
  assertEquals(text(await client.get("/")), "hello");
  client.leave();
}

const slowHead = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";

async function begin(
  server: ServerProcess,
  bytes: string,
): Promise<RawClient> {
  const client = await server.connect();
  await client.write(bytes);
  return client;
}

/** What a client of TLS says first. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const listener = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (data: Uint8Array) => {
        client.destroy();
        socket.destroy();
        listener.close();
        resolve(Buffer.from(data));
      });
    });
    let client: tls.TLSSocket;
    listener.listen(0, "127.0.0.1", () => {
      const { port } = listener.address() as net.AddressInfo;
      client = tls.connect({
        port,
        host: "127.0.0.1",
        servername: "localhost",
      });
      client.on("error", () => {});
    });
  });
}

/** Writes a piece of something over and over, until the connection ends. */
function dribble(client: RawClient, piece: string): void {
  const timer = setInterval(() => void client.write(piece), 100);
  void client.closed.then(() => clearInterval(timer));
}

async function connectMany(
  server: ServerProcess,
  count: number,
): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  const batch = 100; // no more than any backlog takes
  for (let at = 0; at < count; at += batch) {
    clients.push(
      ...await Promise.all(
        Array.from({ length: batch }, () => server.connect()),
      ),
    );
  }
  return clients;
}

clause(
  "H1",
  "hostile clients end nothing, learn nothing, keep no descriptor and hold no shutdown",
  async ({ step, note, measured }) => {
    await step("what is no HTTP", async () => {
      const { server, before } = await startCounted();
      for (const [what, bytes] of Object.entries(malformed)) {
        const client = await server.connect();
        void client.write(Buffer.from(bytes, "latin1"));
        await client.closed; // it is not kept for a second try
        const good = what.endsWith("a good request") ? [200] : [];
        for (const response of client.responses) {
          const { status } = response;
          // Deno tells of a bad body through its reader: that is the app's.
          const known = [400, 413, 431, 505, ...good, ...isDeno ? [500] : []];
          assert(known.includes(status), `${what}: ${status}`);
          assertTellsNothing(response);
        }
        await assertServes(server);
      }
      const handled = server.printed("handling").map(({ json }) => json?.path);
      assertEquals(handled.filter((path) => path !== "/upload"), []);
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("what barely is", async () => {
      const { server, before } = await startCounted();
      for (const [what, { bytes, statuses }] of Object.entries(odd)) {
        const client = await server.connect();
        void client.write(Buffer.from(bytes, "latin1"));
        const response = await Promise.race([
          client.received("").catch(() => undefined),
          client.closed.then(() => client.responses[0]),
        ]);
        assert(response, `${what}: no answer`);
        assert(
          statuses.includes(response.status),
          `${what}: ${response.status}`,
        );
        assertTellsNothing(response);
        client.leave();
        await assertServes(server);
      }
      if (isDeno) note("serves HTTP/1.1 without a Host");
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("an invalid Host", async () => {
      const { server, before } = await startCounted();
      for (const name of noHosts) {
        const client = await server.connect();
        void client.write(get("/", `Host: ${name}\r\n`));
        const response = await client.response();
        if (isDeno) {
          note(
            "whatever Host says becomes part of the URL: one with a slash " +
              "chooses the path",
          );
          assertEquals(response.status, 200, name);
          const expected = name.includes("/livez") ? /live/ : /hello/;
          assertMatch(text(response), expected, name);
        } else assertEquals(response.status, 400, name);
        assertTellsNothing(response);
        client.leave();
      }
      await assertServes(server);
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("an error that no app answers for", async () => {
      const server = await startFixture({ FAILS: 1 });
      const client = await server.connect();
      const response = await client.get("/");
      assertEquals(response.status, 500);
      assertTellsNothing(response);
      client.leave();
      server.signal("SIGTERM");
      assertEquals((await server.exited).code, 0);
    });

    await step("half-closed after the request", async () => {
      const { server, before } = await startCounted();
      const halfClosed = async (request: Uint8Array | string) => {
        const client = await server.connect();
        await client.write(request);
        client.halfClose(); // its response may be lost
        return client;
      };
      const slow = await halfClosed(requestBytes("GET", "/slow?ms=300"));
      await slow.closed;
      for (
        const request of [get("/endless"), postHead("/upload", 9) + "half"]
      ) {
        (await halfClosed(request)).leave();
      }
      await assertServes(server);
      await assertDescriptors(server, before);

      (await halfClosed(get("/never"))).leave();
      await server.event("handling", { path: "/never" });
      await assertServes(server);
      if (isDeno) {
        note("a handler that never settles keeps its client's descriptor");
        const now = await descriptors(server, before.length + 1);
        assertEquals(now.length, before.length + (counts ? 1 : 0));
      } else await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("5,000 silent connections that leave", async () => {
      const { server, before } = await startCounted();
      const clients = await connectMany(server, 5000);
      await assertServes(server);
      clients.forEach((client) => client.leave());
      await Promise.all(clients.map(({ closed }) => closed));
      await assertServes(server);
      if (isBun) {
        note("a silent client that has left keeps its descriptor for 12 s");
      }
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    }, 30_000);

    await step("5,000 silent connections that stay", async () => {
      const { server } = await startCounted();
      const clients = await connectMany(server, 5000);
      await assertServes(server);
      server.signal("SIGTERM");
      const { exit } = await endedClean(server);
      const ms = exit.msSinceSignal.toFixed(0);
      measured(`with 5,000 silent connections the end took ${ms} ms`);
      assertWithin(exit.msSinceSignal, 3000, "the end");
      clients.forEach((client) => client.leave());
    });

    await step("a TLS handshake that is given up", async () => {
      const { cert, key } = makeCertificate();
      const env = { TLS_CERT: cert, TLS_KEY: key };
      const { server, before } = await startCounted(env);
      const hello = await clientHello();
      const openings = [
        "",
        hello.subarray(0, 3),
        hello.subarray(0, hello.length / 2),
        hello,
        Buffer.concat([hello, Buffer.from("and then garbage")]),
        get("/"),
      ];
      for (const opening of openings) {
        const client = await RawClient.connect(server.port);
        if (opening.length > 0) await client.write(opening);
        client.leave();
        await assertServes(server);
      }
      await assertDescriptors(server, before);

      const staying = [];
      for (const opening of openings.slice(0, 4)) {
        const client = await RawClient.connect(server.port);
        if (opening.length > 0) await client.write(opening);
        staying.push(client);
      }
      await assertServes(server);
      server.signal("SIGTERM");
      const { exit } = await endedClean(server);
      assertWithin(exit.msSinceSignal, 2500, "the end");
      staying.forEach((client) => client.leave());
    }, 30_000);

    await step("slow heads while the server drains", async () => {
      const { server } = await startCounted();
      for (let n = 0; n < 20; n++) {
        await server.connect(); // silent
        dribble(await begin(server, slowHead), "x");
        await begin(server, slowHead);
      }
      // As fast as it is taken: each piece goes out when the one before it has.
      const endless = await begin(server, slowHead);
      const shouting = (async () => {
        while (await endless.write("x".repeat(50))) await delay(5);
      })();
      await assertServes(server);
      server.signal("SIGTERM");
      const { exit } = await endedClean(server);
      assertWithin(exit.msSinceSignal, 2500, "the end");
      await shouting;
    });

    await step(
      "slow bodies and slow readers while the server drains",
      async () => {
        const { server } = await startCounted({ DRAIN_TIMEOUT_MS: 1200 });
        for (let n = 0; n < 10; n++) {
          dribble(await begin(server, postHead("/upload", 1000)), "x");
          dribble(await begin(server, post(chunked, "")), "1\r\nx\r\n");
          await begin(server, postHead("/upload", 1000) + "half of it");
        }
        for (const path of ["/big", "/big-stream"]) {
          const client = await server.connect();
          client.pause();
          await client.write(get(path));
        }
        await server.event("handling", { path: "/big-stream" });
        await server.event("handling", { path: "/upload" }, 30);
        server.signal("SIGTERM");
        const { exit, report } = await ended(server, 1);
        assertEquals(report.outcome, "timeout");
        const cut = report.requests.cut.map(({ path }) => path);
        assertEquals(cut.filter((path) => path === "/upload").length, 30);
        assert(exit.msSinceSignal > 1180, "the deadline was not kept");
        assertWithin(exit.msSinceSignal, 1200 + 2500, "the end");
      },
    );
  },
);
