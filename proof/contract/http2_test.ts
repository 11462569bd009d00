/**
 * HTTP/2 beyond what polite clients do: answers that it cannot carry, clients
 * that vanish, stall or break off, and the limits of what one may take.
 */
import * as http2 from "node:http2";
import * as net from "node:net";
import process from "node:process";
import { Duplex } from "node:stream";
import * as tls from "node:tls";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { makeCertificate } from "../support/certificate.ts";
import { clause } from "../support/clause.ts";
import {
  assertWithin,
  delay,
  ended,
  endedClean,
  isBun,
  isNode,
} from "../support/expect.ts";
import { descriptorsOf } from "../support/proc.ts";
import { Cut, isPattern, text } from "../support/raw_client.ts";
import { PREFACE, RawHttp2 } from "../support/raw_http2.ts";
import {
  type Env,
  type ServerProcess,
  startFixture,
} from "../support/server_process.ts";

const pair = makeCertificate();
const secure = { TLS_CERT: pair.cert, TLS_KEY: pair.key };
const start = (env: Env = {}) => startFixture({ ...secure, ...env });

/** Small, and apart by more than the second between two of Node's checks. */
const limits = {
  headTimeout: 500,
  requestTimeout: 2000,
  writeTimeout: 2000,
  idleTimeout: 4500,
};

const websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n" +
  "Sec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const encoded = (value: unknown) => encodeURIComponent(JSON.stringify(value));

/** It serves, by both versions. */
async function assertServes(server: ServerProcess): Promise<void> {
  const modern = await RawHttp2.dial(server.url);
  const old = await server.connect();
  assertEquals(text(await modern.get("/")), "hello");
  assertEquals(text(await old.get("/")), "hello");
  modern.leave();
  old.leave();
}

/** One GET with Node's own client, which refuses what HTTP/2 forbids. */
async function ask(url: string, path: string): Promise<number> {
  const client = http2.connect(url, { rejectUnauthorized: false });
  const gone = new Promise<never>((_, reject) => client.on("error", reject));
  gone.catch(() => {});
  const request = client.request({ ":path": path });
  const answer = new Promise<number>((resolve, reject) => {
    let status = 0;
    request.on("response", (headers) => status = Number(headers[":status"]));
    request.on("error", reject);
    request.on("end", () => resolve(status));
    request.resume();
  });
  answer.catch(() => {});
  try {
    return await Promise.race([answer, gone]);
  } finally {
    client.destroy();
  }
}

/**
 * The server has no more than five descriptors beyond `before`. Of what it has
 * closed the kernel tells no third party, so look again a few times.
 */
async function assertDescriptors(
  server: ServerProcess,
  before: number,
): Promise<void> {
  if (process.platform !== "linux") return;
  let now = Infinity;
  for (let look = 0; look < 100 && now > before + 5; look++) {
    if (look > 0) await delay(100);
    now = descriptorsOf(server.pid).length;
  }
  assert(now <= before + 5, `${before} descriptors became ${now}`);
}

const countDescriptors = (server: ServerProcess) =>
  process.platform === "linux" ? descriptorsOf(server.pid).length : 0;

clause(
  "H1",
  "over HTTP/2: no answer of the app, no half of a request and no line of text that says HTTP/2 ends the process",
  async ({ step, note }) => {
    await step("an event stream, to its last event (D8)", async () => {
      const server = await start();
      const client = await RawHttp2.dial(server.url);
      const streams = ["/events", "/stream"].map((path) =>
        client.request("GET", path)
      );
      for (const stream of streams) await client.received(stream, 10);
      server.signal("SIGTERM");
      const [events, stream] = await Promise.all(
        streams.map((stream) => client.response(stream)),
      );
      assertMatch(text(events!), /hello[^]*the server is leaving/);
      assertMatch(text(stream!), /hello[^]*shutdown/);
      await endedClean(server);
    });

    await step("headers of HTTP/1.1's connections are left out", async () => {
      const server = await start();
      const values = {
        "Connection": "keep-alive, x",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "TE": "gzip",
        "Transfer-Encoding": "chunked",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAMAAABkAAQAAP__",
      };
      for (const [name, value] of Object.entries(values)) {
        for (const path of ["/head", "/head-now"]) {
          const asked = ask(
            server.url,
            `${path}?headers=${encoded({ [name]: value })}`,
          );
          if (isNode) assertEquals(await asked, 200, name);
          // Those who hand the header on hurt this one response.
          else await asked.catch(() => {});
        }
      }
      await assertServes(server);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("a head that cannot be sent is a 500", async () => {
      const server = await start();
      const queries = [
        ...[99, 100, 101, 103, 199, 600, 999].map((status) => ({ status })),
        { headers: { "a name": "x" } },
        { headers: { "": "x" } },
        { headers: { ":status": "204" } },
        { headers: { ":path": "/" } },
        { headers: { ":made-up": "x" } },
        { headers: { "x": "a\r\nb: c" } },
        { headers: { "x": "\0" } },
        { headers: { "x": "\u6f22" } },
      ].map(({ status = 200, headers = {} }: {
        status?: number;
        headers?: Record<string, string>;
      }) => `?status=${status}&headers=${encoded(headers)}`);
      const answers: string[] = [];
      for (const query of queries) {
        for (const path of ["/head", "/head-now"]) {
          const client = await RawHttp2.dial(server.url);
          const status = await client.get(path + query).then(
            ({ status }) => status,
            (error) => {
              if (!(error instanceof Cut)) throw error;
              return "cut";
            },
          );
          answers.push(`${path}${decodeURIComponent(query)}: ${status}`);
          client.leave();
        }
      }
      await assertServes(server);
      const wrong = answers.filter((answer) => !/: (500|cut)$/.test(answer));
      if (isNode) assertEquals(wrong, []);
      server.signal("SIGTERM");
      const { code } = await server.exited;
      assertEquals(code, 0, server.describe());
    });

    await step("a version of HTTP that is none in a line of text", async () => {
      for (const env of [{}, secure]) {
        const server = await startFixture(env);
        for (const version of ["0.9", "1.9", "2.0", "3.0"]) {
          for (const upgrade of ["", websocket]) {
            const client = await server.connect();
            await client.write(
              `GET /ws HTTP/${version}\r\nHost: localhost\r\n${upgrade}\r\n`,
            );
            await client.closed;
            const status = client.responses[0]?.status;
            assert(status === 400 || status === 505, `${version}: ${status}`);
          }
        }
        const client = await server.connect();
        assertEquals(text(await client.get("/")), "hello");
        client.leave();
        server.signal("SIGTERM");
        await endedClean(server);
      }
    });

    await step("a host beside another authority", async () => {
      const server = await start();
      const client = await RawHttp2.dial(server.url);
      const same = await client.get("/url", { host: "localhost" });
      assertEquals(JSON.parse(text(same)), [
        "https://localhost/url",
        "localhost",
      ]);
      const other = client.request("GET", "/url", undefined, {
        host: "other.example",
      });
      if (isNode) {
        assertEquals((await client.response(other)).status, 400);
      } else if (isBun) await client.reset(other);
      else {
        note("over HTTP/2 a host header may differ from the authority");
        const [url] = JSON.parse(text(await client.response(other)));
        assertEquals(url, "https://localhost/url");
      }
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("an expectation that nobody can meet", async () => {
      const server = await start();
      const client = await RawHttp2.dial(server.url);
      const { status } = await client.get("/", { expect: "the moon" });
      assertEquals(status, isNode ? 417 : 200);
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("an upload that breaks off is not taken for whole", async () => {
      const server = await start();
      const client = await RawHttp2.dial(server.url);
      // The one is cut before it is read, the other while.
      const late = client.request("POST", "/upload-late?ms=300", "half");
      await server.event("handling", { path: "/upload-late" });
      client.cancel(late);
      const early = client.request("POST", "/upload", "half");
      await server.event("handling", { path: "/upload" });
      client.cancel(early);
      if (isNode) {
        await server.event("handler failed", { path: "/upload-late" });
        await server.event("handler failed", { path: "/upload" });
        // What is whole is whole, whoever left before the answer.
        const whole = client.request("POST", "/upload-late?ms=300", "all of");
        client.finish(whole, " it");
        await server.event("handling", { path: "/upload-late" }, 2);
        client.cancel(whole);
        await server.event("handled", { path: "/upload-late" }, 2);
        assertEquals(server.printed("handler failed").length, 2);
      }
      client.leave();
      await assertServes(server);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("breaking off in every way leaves no descriptor", async () => {
      // Node does not always hear of a reset: its limits have to. A client that
      // is reading 300 MB may take more than half a second to shake hands.
      const server = await start({
        LIMITS: JSON.stringify({
          ...limits,
          headTimeout: 2000,
          idleTimeout: 1000,
        }),
      });
      await assertServes(server);
      const before = countDescriptors(server);
      const ways: ((client: RawHttp2) => void)[] = [
        () => {},
        (client) => client.request("GET", "/big"),
        (client) => client.request("GET", "/slow?ms=1000"),
        (client) => client.request("GET", "/endless"),
        (client) => client.request("POST", "/upload", "half"),
        (client) => client.beginHead(),
        (client) => client.cancel(client.request("GET", "/slow?ms=1000"), 0),
        (client) =>
          client.cancel(client.request("POST", "/early-slow", "x"), 0),
        (client) => client.sayGoaway(),
        // DATA behind the end of its stream.
        (client) => client.send(client.request("POST", "/upload"), "more"),
        (client) => client.write("\0\0\x04\0\0\0\0\0\0what"), // DATA on stream 0
        (client) => client.write("\0\0\x01\x06\0\0\0\0\0x"), // a short PING
        (client) => client.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
      ];
      for (const way of ways) {
        const clients: RawHttp2[] = [];
        for (let n = 0; n < 10; n++) {
          const client = await RawHttp2.dial(server.url);
          clients.push(client);
          way(client);
        }
        // Half of them by the time the server has answered.
        await Promise.all(
          clients.slice(5).map((client) =>
            Promise.race([client.settled().catch(() => {}), client.closed])
          ),
        );
        clients.forEach((client) => client.leave());
      }
      await assertDescriptors(server, before);
      await assertServes(server);
      server.signal("SIGTERM");
      const { code } = await server.exited;
      assertEquals(code, 0, server.describe());
    });

    await step("a crowd of requests that are reset at once", async () => {
      if (!isNode) return; // the other two hand them to the app as they come
      const server = await start();
      const client = await RawHttp2.dial(server.url);
      client.atOnce(() => {
        for (let i = 0; i < 120; i++) {
          client.cancel(client.request("GET", "/slow?ms=1"));
        }
      });
      const last = client.request("GET", "/slow?ms=2");
      assertEquals((await client.response(last)).status, 200);
      const handled = server.printed("handling")
        .filter(({ json }) => json?.query === "?ms=1");
      // A connection's share of a turn, and what its reset did not yet reach.
      assert(handled.length <= 32, `${handled.length} of 120 were handled`);
      client.leave();
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("a reset right behind the handshake", async () => {
      const server = await start({ LIMITS: '{"headTimeout":500}' });
      await assertServes(server);
      const before = countDescriptors(server);
      await resetBehindHandshake(server, 20, "");
      await resetBehindHandshake(server, 20, PREFACE);
      await assertServes(server);
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      await endedClean(server);
    });
  },
);

/**
 * So many clients whose last words of the handshake the server finds together
 * with their reset: it is stopped meanwhile.
 */
async function resetBehindHandshake(
  server: ServerProcess,
  count: number,
  words: string,
): Promise<void> {
  const { port } = new URL(server.url);
  const resume: (() => void)[] = [];
  let allHeld = () => {};
  const held = new Promise<void>((resolve) => allHeld = resolve);
  const gone = Array.from({ length: count }, async () => {
    const socket = net.connect(Number(port), "127.0.0.1");
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("error", () => {});
    const pipe = new Duplex({
      read() {},
      write: (data, _, done) => void socket.write(data, done),
    });
    let held: Uint8Array[] | undefined = [];
    socket.on("data", (data: Uint8Array) => {
      if (!held) return void pipe.push(data);
      if (held.push(data) > 1) return;
      resume.push(() => {
        held!.forEach((data) => pipe.push(data));
        held = undefined;
      });
      if (resume.length === count) allHeld();
    });
    const client = tls.connect({
      socket: pipe as net.Socket,
      ALPNProtocols: ["h2"],
      rejectUnauthorized: false,
    });
    client.on("error", () => {});
    await new Promise((resolve) => client.once("secureConnect", resolve));
    if (words) client.write(words);
    await delay(20); // for the words to be out
    socket.resetAndDestroy();
    await closed;
  });
  await held;
  process.kill(server.pid, "SIGSTOP");
  resume.forEach((push) => push());
  // One whose handshake it had only half written waits for the rest.
  await Promise.race([Promise.all(gone), delay(2000)]);
  process.kill(server.pid, "SIGCONT");
  await Promise.all(gone);
}

clause(
  "D10",
  "an HTTP/2 client that vanishes or never leaves does not hold the end; one that takes its time gets all",
  async ({ step, measured }) => {
    type Way = [string, boolean, (client: RawHttp2) => unknown];
    const ways: Way[] = [
      ["has vanished", true, (client) => client.vanish()],
      ["reads on and never closes", false, () => {}],
      ["has said GOAWAY and stays", false, (client) => client.sayGoaway()],
      [
        "breaks the protocol and stays",
        false,
        (client) => client.write("\0\0\x01\x06\0\0\0\0\0x"),
      ],
    ];
    for (const [what, closes, behave] of ways) {
      await step(`a client that ${what}`, async () => {
        const server = await start({ IDLE_GRACE_MS: 100 });
        const clients: RawHttp2[] = [];
        for (let n = 0; n < 5; n++) {
          const client = await RawHttp2.dial(server.url, { closes });
          await client.get("/");
          behave(client);
          clients.push(client);
        }
        await delay(350); // quiet for longer than the grace
        server.signal("SIGTERM");
        const { exit } = await endedClean(server);
        measured(
          `a client that ${what}: ${exit.msSinceSignal.toFixed(0)} ms`,
        );
        assertWithin(exit.msSinceSignal, 1500, "the end");
        clients.forEach((client) => client.leave());
      });
    }

    await step("one that vanishes with a stream open is named", async () => {
      const server = await start({ DRAIN_TIMEOUT_MS: 1000 });
      const client = await RawHttp2.dial(server.url, { window: 1000 });
      const stream = client.request("GET", "/big-stream");
      await client.received(stream, 1000);
      client.vanish();
      server.signal("SIGTERM");
      const { report } = await ended(server, 1);
      assertEquals(report.requests.cut.map(({ path }) => path), [
        "/big-stream",
      ]);
      client.leave();
    });

    await step("30 MB in one window, taken slowly to the last", async () => {
      const server = await start({ DRAIN_TIMEOUT_MS: 10_000 });
      const client = await RawHttp2.dial(server.url);
      client.readSlowly(8_000_000);
      const stream = client.request("GET", "/big");
      await client.received(stream, 1000);
      server.signal("SIGTERM");
      const response = await client.response(stream);
      assert(isPattern(response, 30_000_000), `${response.length} bytes`);
      client.leave();
      await endedClean(server);
    });
  },
);

clause(
  "L1",
  "over HTTP/2: slow heads, slow bodies, idle sessions and stalled readers are let go, slow handlers and quiet streams are not",
  async ({ step, note }) => {
    await step("time", async () => {
      const server = await start({ LIMITS: JSON.stringify(limits) });
      await assertServes(server);
      const before = countDescriptors(server);
      const openedAt = performance.now();
      const dial = (options = {}) => RawHttp2.dial(server.url, options);
      const clients: Record<string, RawHttp2> = {
        "no preface": await dial({ greets: false, acknowledges: false }),
        "no request": await dial(),
        "no acknowledgment": await dial({ acknowledges: false }),
        "half a head": await dial(),
        "half a body": await dial(),
        "a body by drops": await dial(),
        "a body for nobody": await dial(),
        "no window": await dial({ window: 0 }),
        "no window, and pings": await dial({ window: 0 }),
        "reads nothing": await dial(),
        "idle": await dial(),
        "idle, and pings": await dial(),
        "a quiet stream": await dial(),
        "a slow handler": await dial(),
        "a slow reader": await dial({ window: 10_000 }),
      };
      const every = (ms: number, client: RawHttp2, run: () => void) => {
        const timer = setInterval(run, ms);
        void client.closed.then(() => clearInterval(timer));
      };

      await clients["half a head"]!.settled();
      clients["half a head"]!.beginHead();
      const half = clients["half a body"]!.request("POST", "/upload", "half");
      const drops = clients["a body by drops"]!.request("POST", "/upload", "x");
      every(
        100,
        clients["a body by drops"]!,
        () => clients["a body by drops"]!.send(drops, "x"),
      );
      const unread = clients["a body for nobody"]!
        .request("POST", "/upload-late?ms=6000", "half");
      clients["no window"]!.request("GET", "/");
      clients["no window, and pings"]!.request("GET", "/big-stream");
      every(
        100,
        clients["no window, and pings"]!,
        () => clients["no window, and pings"]!.ping(),
      );
      clients["reads nothing"]!.vanish();
      clients["reads nothing"]!.request("GET", "/big");
      assertEquals(text(await clients["idle"]!.get("/")), "hello");
      assertEquals(text(await clients["idle, and pings"]!.get("/")), "hello");
      every(
        100,
        clients["idle, and pings"]!,
        () => clients["idle, and pings"]!.ping(),
      );
      clients["a quiet stream"]!.request("GET", "/events");
      const slow = clients["a slow handler"]!.request("GET", "/slow?ms=7000");
      const reader = clients["a slow reader"]!.request("GET", "/big-stream");
      every(
        400,
        clients["a slow reader"]!,
        () => clients["a slow reader"]!.allow(reader, 5000),
      );

      /** It was not let go before its time, but then. */
      const endsAfter = async (what: string, ms: number) => {
        await clients[what]!.closed;
        const after = performance.now() - openedAt;
        assert(after > ms - 20, `${what} ended after ${after.toFixed(0)} ms`);
      };
      if (isNode) {
        const { headTimeout, requestTimeout, writeTimeout, idleTimeout } =
          limits;
        for (
          const what of [
            "no preface",
            "no request",
            "no acknowledgment",
            "half a head",
          ]
        ) await endsAfter(what, headTimeout);
        for (
          const [what, stream] of [
            ["half a body", half],
            ["a body by drops", drops],
            ["a body for nobody", unread],
          ] as const
        ) {
          const response = await clients[what]!.response(stream);
          assertEquals(response.status, 408, what);
          await endsAfter(what, requestTimeout);
        }
        await server.event("handler failed", { path: "/upload" }, 2);
        await endsAfter("no window", writeTimeout);
        await endsAfter("no window, and pings", writeTimeout);
        await server.event("reader cut");
        await endsAfter("idle", idleTimeout);
        await endsAfter("idle, and pings", idleTimeout);
      }
      const answer = await clients["a slow handler"]!.response(slow);
      assertEquals(text(answer), "slow but whole");
      if (!isNode) {
        note("none of these limits over HTTP/2");
        const ended = Object.keys(clients)
          .filter((what) => !clients[what]!.isOpen);
        assertEquals(ended, [], "there is a limit");
      }
      assert(clients["a quiet stream"]!.isOpen, "a quiet stream goes on");
      await clients["a slow reader"]!.received(reader, 60_000);
      if (isNode) await assertDescriptors(server, before);
      Object.values(clients).forEach((client) => client.leave());
      await assertDescriptors(server, before);
      server.signal("SIGTERM");
      const { code } = await server.exited;
      assertEquals(code, 0, server.describe());
    }, 40_000);

    await step("the size of a head", async () => {
      const server = await start({ LIMITS: '{"headSize":4096}' });
      const passes = async (size: number) => {
        const client = await RawHttp2.dial(server.url);
        await client.settled();
        await client.get("/"); // and its acknowledgment has arrived
        const status = await client.get("/", { "x-long": "x".repeat(size) })
          .then(({ status }) => status, () => "cut");
        client.leave();
        return status === 200;
      };
      assert(await passes(3000));
      if (isNode) assert(!await passes(5000));
      else note("over HTTP/2 the size of a head is the runtime's own");
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("the number of streams", async () => {
      const server = await start();
      const client = await RawHttp2.dial(server.url);
      await client.settled();
      const streams = Array.from(
        { length: 300 },
        () => client.request("GET", "/events"),
      );
      // 7: refused, and safe to be sent again. Node takes it for an attack.
      const refused = await client.reset(streams.at(-1)!).catch((error) => {
        if (!(error instanceof Cut)) throw error;
      });
      assert(isNode ? refused === undefined : refused === 7, `${refused}`);
      client.leave();
      await assertServes(server);
      server.signal("SIGTERM");
      await endedClean(server);
    });

    await step("the number of connections", async () => {
      const server = await start({ LIMITS: '{"connections":2}' });
      const clients = [
        await RawHttp2.dial(server.url),
        await RawHttp2.dial(server.url),
      ];
      for (const client of clients) {
        assertEquals(text(await client.get("/")), "hello");
      }
      const one = RawHttp2.dial(server.url).then((client) => client.get("/"));
      if (isNode) await assertRejects(() => one);
      else assertEquals(text(await one), "hello");
      clients.forEach((client) => client.leave());
      server.signal("SIGTERM");
      await endedClean(server);
    });
  },
);
