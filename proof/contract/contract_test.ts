/**
 * The contract of DESIGN.md, clause by clause, against real processes over raw
 * sockets. What a runtime cannot do is asserted as it is documented, and noted.
 */
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import * as net from "node:net";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  certificateFiles,
  DAY,
  makeCertificate,
} from "../support/certificate.ts";
import { clause, Skip } from "../support/clause.ts";
import {
  assertRefused,
  assertWithin,
  bestOf,
  completes,
  delay,
  ended,
  endedClean,
  failsToStart,
  isDeno,
  isNode,
  postHead,
  retiring,
  saysClose,
  sendInPieces,
  stopsAtOnce,
} from "../support/expect.ts";
import { Terminal } from "../support/pty.ts";
import {
  isPattern,
  RawClient,
  type RawResponse,
  requestBytes,
  text,
} from "../support/raw_client.ts";
import { ENABLE_CONNECT_PROTOCOL, RawHttp2 } from "../support/raw_http2.ts";
import { RawWebSocket, upgradeBytes } from "../support/raw_websocket.ts";
import {
  binFolder,
  commandFor,
  type Env,
  executable,
  fixture,
  type Process,
  root,
  runtime,
  type RuntimeName,
  scratchFolder,
  ServerProcess,
  spawnFixture,
  startFixture,
} from "../support/server_process.ts";

clause(
  "S1",
  "the log line carries a URL that works, and a socket that cannot be had is one sentence and exit 1",
  async ({ step, note }) => {
    for (const HOST of ["127.0.0.1", "0.0.0.0", "::1"]) {
      await step(`listening on ${HOST}`, async () => {
        const server = await startFixture({ HOST });
        const { json } = await server.logged("server listening");
        assertMatch(
          String(json?.runtime),
          new RegExp(`^${runtime} \\d+\\.\\d`),
        );
        assertEquals(json?.url, server.url);
        const client = await RawClient.dial(server.url);
        assertEquals(text(await client.get("/")), "hello");
        client.leave();
        server.signal("SIGTERM");
        await endedClean(server);
      });
    }

    await step("port taken", async () => {
      const other = net.createServer();
      await new Promise<void>((resolve) =>
        other.listen(0, "127.0.0.1", () => resolve())
      );
      const { port } = other.address() as net.AddressInfo;
      try {
        await failsToStart({ PORT: port }, new RegExp(`\\b${port}\\b`));
      } finally {
        await new Promise((resolve) => other.close(resolve));
      }
    });

    await step("port taken, and no run() around it", async () => {
      const other = await startFixture();
      const env = { NO_RUN: 1, NO_EXIT: 1, PORT: other.port };
      const server = await spawnFixture({ HOOKS: "db:ok", ...env });
      const { json } = await server.logged("uncaught error");
      assertMatch(
        String(json?.error),
        new RegExp(`^Port ${other.port} .+\\.$`),
      );
      assertEquals(json?.stack, undefined, "a sentence, not a stack");
      const { report } = await ended(server, 1);
      assertEquals(report.hooks.map(({ name }) => name), ["db"]);
      other.signal("SIGTERM");
      await endedClean(other);
    });

    await step("address not ours", async () => {
      await failsToStart({ HOST: "192.0.2.1" }, /192\.0\.2\.1/);
    });

    await step("privileged port", async () => {
      // Not read here: Deno opens /proc to nobody without all permissions.
      const free = spawnSync("cat", [
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
      ]);
      if (free.status !== 0 || Number(free.stdout) < 2) {
        return note("privileged port not tried: this system has none");
      }
      const without = "-net_bind_service";
      const drop = ["--bounding-set", without, "--inh-caps", without];
      const prefix = process.getuid?.() === 0 ? ["setpriv", ...drop] : [];
      await failsToStart({ PORT: 1 }, /port 1\b/, prefix);
    });

    const good = makeCertificate();
    const other = makeCertificate();
    const expired = makeCertificate({ to: Date.now() - 3 * DAY });
    const future = makeCertificate({ from: Date.now() + DAY });
    const garbage = "-----BEGIN CERTIFICATE-----\nnonsense\n";
    const badPairs: [string, { cert: string; key: string }, RegExp[]][] = [
      ["an expired certificate", expired, [/certificate expired on .+; renew/]],
      ["one that is not yet valid", future, [/is not valid before .+; wait/]],
      ["another's key", { ...good, key: other.key }, [/does not belong to/]],
      ["a certificate that is none", { ...good, cert: garbage }, [
        /certificate.* is not in PEM form.*TLS_CERT/,
      ]],
      ["a key that is none", { ...good, key: garbage }, [
        /private key is not in PEM form.*TLS_KEY/,
      ]],
      ["everything wrong at once", { ...expired, key: other.key }, [
        /certificate expired on/,
        /does not belong to/,
      ]],
    ];
    for (const [what, { cert, key }, expected] of badPairs) {
      const pattern = new RegExp(
        expected.map(({ source }) => source).join(".+"),
      );
      await step(`${what}, as PEM texts`, async () => {
        await failsToStart({ TLS_CERT: cert, TLS_KEY: key }, pattern);
      });
      await step(`${what}, as files`, async () => {
        await failsToStart(certificateFiles({ cert, key }), pattern);
      });
    }

    await step("files that cannot be read", async () => {
      const TLS_CERT = path.join(scratchFolder(), "no-such.pem");
      await failsToStart(
        { TLS_CERT, TLS_KEY: scratchFolder() },
        new RegExp(
          `certificate ${TLS_CERT} cannot be read: there is no such file; .+` +
            "private key cannot be read: it is a folder; ",
        ),
      );
    });
  },
);

clause(
  "S2",
  "a wrong configuration lists every problem at once, opens nothing and exits 78",
  async () => {
    const main = new ServerProcess(await commandFor("src/main.ts"), {
      env: { PORT: "80a", DRAIN_TIMEOUT_MS: "-1", IDLE_GRACE_MS: "soon" },
    });
    const exit = await main.exited;
    assertEquals([exit.code, exit.signal], [78, null], main.describe());
    assertEquals(main.output("stdout"), "", "nothing was opened");
    const problems = main.output("stderr").trimEnd().split("\n");
    assertEquals(problems.length, 3, main.describe());
    assertEquals(
      problems[0],
      'PORT is "80a"; expected a whole number from 0 to 65535, such as 3000.',
    );
    for (const problem of problems) {
      assertMatch(problem, /^[A-Z_]+ is ".*"; expected .*\.$/);
    }
  },
);

clause(
  "S3",
  "a signal during start-up stops it: what was opened is closed, nothing listens, exit 0",
  async ({ step }) => {
    const interrupted = async (
      env: Record<string, string | number>,
      limit: number,
    ) => {
      const server = await spawnFixture({ HOOKS: "db:ok", ...env });
      await server.event("starting");
      server.signal("SIGINT");
      const { exit, report } = await endedClean(server);
      assertWithin(exit.msSinceSignal, limit, "giving up the start");
      assertEquals(report.reason, "SIGINT");
      assertEquals(report.hooks.map(({ name }) => name), ["db"]);
      assertEquals(server.printed("server listening").length, 0);
    };

    await step(
      "a start that heeds the signal",
      () => interrupted({ SLOW_START_MS: 30_000, START_HEEDS_SIGNAL: 1 }, 500),
    );
    await step(
      "a start that goes on for a while and then wants to listen",
      () => interrupted({ SLOW_START_MS: 400 }, 900),
    );

    await step("the app's own main", async () => {
      const main = new ServerProcess(await commandFor("src/main.ts"));
      await main.logged("server listening");
      main.signal("SIGINT");
      const { report } = await endedClean(main);
      assertEquals(report.reason, "SIGINT");
    });
  },
);

clause(
  "S4",
  "serve on a controller that has begun shutting down refuses",
  async () => {
    const server = await spawnFixture({ BEGIN_FIRST: 1, HOOKS: "db:ok" });
    const { json } = await server.event("serve refused");
    assertMatch(String(json?.error), /shutting down/);
    const { report } = await endedClean(server);
    assertEquals(report.reason, "asked");
    assertEquals(report.hooks.map(({ name }) => name), ["db"]);
    assertEquals(server.printed("server listening").length, 0);
  },
);

clause(
  "D1",
  "at the signal readiness turns 503 and shutdown.signal aborts, at once; liveness stays 200",
  async () => {
    const server = await startFixture({ DRAIN_DELAY_MS: 500 });
    const client = await server.connect();
    assertEquals((await client.get("/readyz")).status, 200);
    assertEquals((await client.get("/livez")).status, 200);

    server.signal("SIGTERM");
    const began = await server.logged("shutdown began", { reason: "SIGTERM" });
    const aborted = await server.event("signal aborted");
    assertMatch(String(aborted.json?.reason), /SIGTERM/, "it says why");
    assertWithin(aborted.at - began.at, 50, "aborting the signal");
    assertWithin(began.at - server.signalledAt, 100, "noticing the signal");
    assertEquals((await client.get("/readyz")).status, 503);
    assertEquals((await client.get("/livez")).status, 200);
    const other = await server.connect();
    assertEquals((await other.get("/readyz")).status, 503);
    assertEquals((await other.get("/livez")).status, 200);
    assertEquals(server.printed("listener closed").length, 0);

    const { exit } = await endedClean(server);
    assert(exit.msSinceSignal > 480, "the drain delay was not kept");
  },
);

clause(
  "D2",
  "during the drain delay new connections and warm ones are served as ever",
  async () => {
    const server = await startFixture({ DRAIN_DELAY_MS: 800 });
    const warm = await server.connect();
    await warm.get("/");
    const unused = await server.connect();
    server.signal("SIGTERM");
    await server.logged("shutdown began");
    const fresh = await server.connect();
    for (const client of [warm, unused, fresh]) {
      for (const path of ["/", "/slow?ms=20"]) {
        const response = await client.get(path);
        assertEquals(response.status, 200);
        assert(!saysClose(response), `${path} pushed its client away`);
      }
      assertEquals(client.ending, undefined, "the connection is kept");
    }
    assertEquals(server.printed("listener closed").length, 0);
    const { report } = await endedClean(server);
    assertEquals(report.requests.completed, 6);
  },
);

clause(
  "D3",
  "then new connections are refused, and every response says Connection: close and closes",
  async ({ step, note }) => {
    await step("with a request in flight", async () => {
      const server = await startFixture();
      const client = await server.connect();
      const slow = client.get("/slow?ms=900");
      await server.event("handling", { path: "/slow" });
      server.signal("SIGTERM");
      await server.logged("listener closed");
      await assertRefused(server.port);
      const response = await slow;
      assertEquals(text(response), "slow but whole");
      assert(saysClose(response), "the response does not say close");
      assertEquals((await client.closed).how, "fin");
      await endedClean(server);
    });

    await step("who was in the accept queue is answered", async () => {
      const server = await startFixture({ STALLS: 1 });
      server.signal("SIGTERM");
      await server.event("stalled");
      const clients = await Promise.all(
        Array.from({ length: 20 }, () => server.connect()),
      );
      const answers = Promise.all(clients.map((client) => client.get("/")));
      server.type("\n");
      for (const answer of await answers) assertEquals(text(answer), "hello");
      await endedClean(server);
    });

    await step("a kept connection's next request", async () => {
      const server = await startFixture({ IDLE_GRACE_MS: 400 });
      const [plain, slow] = [await server.connect(), await server.connect()];
      await plain.get("/");
      await slow.get("/");
      server.signal("SIGTERM");
      await server.logged(retiring);
      if (!isNode) note(stopsAtOnce);
      const responses = await Promise.all([
        plain.get("/"),
        slow.get("/slow?ms=100"),
      ]);
      assert(responses.every(saysClose), "a response does not say close");
      assertEquals((await plain.closed).how, "fin");
      assertEquals((await slow.closed).how, "fin");
      await endedClean(server);
    });

    await step("two servers on one controller", async () => {
      const server = await startFixture({ SECOND_SERVER: 1 });
      const one = await server.connect();
      const two = await RawClient.connect(server.second);
      const both = [one.get("/slow?ms=900"), two.get("/slow?ms=901")];
      await server.event("handling", { query: "?ms=900" });
      await server.event("handling", { query: "?ms=901" });
      server.signal("SIGTERM");
      await server.logged("listener closed", {}, 2);
      await assertRefused(server.port);
      await assertRefused(server.second);
      for (const response of await Promise.all(both)) {
        assertEquals(text(response), "slow but whole");
        assert(saysClose(response), "the response does not say close");
      }
      const { report } = await endedClean(server);
      assertEquals(report.requests.completed, 2);
    });
  },
);

clause(
  "D4",
  "an idle connection may bring one more request; a quiet, unused or half-spoken one holds nothing",
  async ({ step, note, measured }) => {
    await step("used just now: one more request is answered", async () => {
      const server = await startFixture({ IDLE_GRACE_MS: 400 });
      const client = await server.connect();
      await client.get("/");
      server.signal("SIGTERM");
      await server.logged(retiring);
      if (!isNode) note(stopsAtOnce);
      await delay(100); // the request was on the wire this long
      const response = await client.get("/");
      assertEquals(text(response), "hello");
      assert(saysClose(response), "the response does not say close");
      assertEquals((await client.closed).how, "fin");
      await endedClean(server);
    });

    await step("used just now, and silent from then on", async () => {
      const server = await startFixture({ IDLE_GRACE_MS: 250 });
      const client = await server.connect();
      await client.get("/");
      server.signal("SIGTERM");
      assertEquals((await client.closed).how, "fin");
      const { exit } = await endedClean(server);
      assert(exit.msSinceSignal > 150, "the idle grace was not kept");
      assertWithin(exit.msSinceSignal, 700, "the idle grace");
    });

    for (
      const [what = "", greeting] of [
        ["a connection never used", ""],
        ["half a request head", "GET / HTTP/1.1\r\nHost: loc"],
      ]
    ) {
      await step(`${what} holds for a second at most`, async () => {
        const server = await startFixture();
        const client = await server.connect();
        const witness = await server.connect();
        if (greeting) await client.write(greeting);
        await witness.get("/"); // by now the greeting has arrived as well
        server.signal("SIGTERM");
        const { exit } = await endedClean(server);
        assertWithin(exit.msSinceSignal, 1400, what);
        if (runtime === "bun" && !greeting) {
          note(
            "it never accepts a connection that never sends (TCP_DEFER_ACCEPT" +
              "): the client hears of the end when it writes",
          );
          await client.write("G");
        }
        await client.closed;
      });

      await step(`${what} does not disturb a request in flight`, async () => {
        const server = await startFixture();
        const client = await server.connect();
        if (greeting) await client.write(greeting);
        const busy = await server.connect();
        const slow = busy.get("/slow?ms=1300");
        await server.event("handling");
        server.signal("SIGTERM");
        assertEquals(text(await slow), "slow but whole");
        const { exit } = await endedClean(server);
        assertWithin(exit.at - busy.lastByteAt, 400, "the end after it");
      });
    }

    await step("Ctrl-C on an idle server", async () => {
      measured(
        await bestOf(6, 300, "Ctrl-C on an idle server", async () => {
          const server = await startFixture();
          server.signal("SIGINT");
          return (await endedClean(server)).exit.msSinceSignal;
        }),
      );
    });

    await step("Ctrl-C with a quiet keep-alive connection", async () => {
      measured(
        await bestOf(6, 300, "Ctrl-C with a quiet connection", async () => {
          const server = await startFixture({ IDLE_GRACE_MS: 100 });
          const client = await server.connect();
          await client.get("/");
          await delay(350); // quiet for longer than the grace
          server.signal("SIGINT");
          assertEquals((await client.closed).how, "fin");
          return (await endedClean(server)).exit.msSinceSignal;
        }),
      );
    });
  },
);

clause(
  "D5",
  "a request in flight completes whole, and its connection closes after it",
  async ({ step, note }) => {
    const isSlow = (response: RawResponse) => {
      assertEquals(text(response), "slow but whole");
      assert(saysClose(response), "the response does not say close");
    };
    const is30MB = (response: RawResponse) =>
      assert(isPattern(response, 30_000_000), `${response.length} bytes`);
    // A client that goes on sending is read for 2 s, or a reset would eat the
    // response.
    const lingering = 2500;
    if (isDeno) {
      note(
        "a client that was answered early with a long body from memory, and " +
          "neither finishes its upload nor leaves, is waited for as if it took " +
          "16 KB of that body a second",
      );
    }
    const says = (what: string) => (response: RawResponse) =>
      assertEquals(text(response), what);

    await step(
      "a slow handler",
      () =>
        completes((client) => client.get("/slow?ms=700"), { check: isSlow }),
    );

    await step(
      "a streamed body",
      () =>
        completes((client) => client.get("/drip?n=10&ms=70"), {
          check: (response) =>
            assertEquals(text(response).match(/drop/g)?.length, 10),
        }),
    );

    for (const path of ["/big", "/big-stream"]) {
      await step(
        `30 MB from ${path} to a slow reader`,
        () =>
          completes((client) => {
            client.readSlowly(20_000_000);
            return client.get(path);
          }, { check: is30MB, env: { DRAIN_TIMEOUT_MS: 8000 } }),
      );
    }

    await step(
      "30 MB to a reader that pauses for a second",
      () =>
        completes((client) => {
          client.pause();
          return client.get("/big");
        }, {
          check: is30MB,
          env: { DRAIN_TIMEOUT_MS: 8000 },
          whileDraining: (client) => delay(1000).then(() => client.resume()),
        }),
    );

    const body = new Uint8Array(2_000_000).fill(97);
    const half = body.length / 2;
    await step("an upload still arriving", () =>
      completes(async (client) => {
        await client.write(postHead("/upload", body.length));
        await client.write(body.subarray(half));
        return await client.response();
      }, {
        check: says("2000000"),
        whileDraining: (client) =>
          sendInPieces(client, body.subarray(half), 8, 100),
      }));

    await step(
      "a chunked upload still arriving",
      () =>
        completes(async (client) => {
          await client.write(
            "POST /upload HTTP/1.1\r\nHost: localhost\r\n" +
              "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
          );
          return await client.response();
        }, {
          check: says("11"),
          whileDraining: async (client) => {
            await delay(500);
            await client.write("6\r\n world\r\n");
            await client.write("0\r\n\r\n");
          },
        }),
    );

    for (const length of [1000, body.length]) {
      await step(
        `an upload of ${length} bytes that was not read yet`,
        () =>
          completes((client) => {
            void client.send("POST", "/upload-late?ms=600", {
              body: body.subarray(0, length),
            });
            return client.response();
          }, { check: says(String(length)) }),
      );
    }

    await step(
      "an upload read late and still arriving",
      () =>
        completes(async (client) => {
          await client.write(postHead("/upload-late?ms=400", body.length));
          await client.write(body.subarray(half));
          return await client.response();
        }, {
          check: says("2000000"),
          whileDraining: (client) =>
            sendInPieces(client, body.subarray(half), 8, 100),
        }),
    );

    await step(
      "new connections while an upload is in flight",
      () =>
        completes(async (client) => {
          await client.write(postHead("/upload", 10));
          await client.write("12345");
          return await client.response();
        }, {
          check: says("10"),
          whileDraining: async (client, server) => {
            await delay(600); // past the idle grace and the last moments
            if (runtime === "deno") {
              const get = await server.connect();
              const post = await server.connect();
              const answer = await get.get("/");
              assertEquals(text(answer), "hello");
              assert(saysClose(answer), "the response does not say close");
              await post.send("POST", "/upload", { body: "12345" });
              const refusal = await post.response();
              assertEquals(refusal.status, 503);
              assert(refusal.headers.has("retry-after"), "no Retry-After");
              get.leave();
              post.leave();
              note(
                "while an upload is in flight it goes on accepting, and " +
                  "answers new requests with a body 503 and Retry-After",
              );
            } else await assertRefused(server.port);
            await client.write("67890");
          },
        }),
    );

    await step(
      "answered early, its body unread and still coming",
      () =>
        completes(async (client) => {
          await client.write(postHead("/early-slow?ms=300", body.length));
          await client.write(body.subarray(0, 100_000));
          return await client.response();
        }, {
          check: says("no need to read it"),
          limit: lingering,
          whileDraining: async (client) => {
            client.pause(); // it reads only after it has sent everything
            await sendInPieces(client, body.subarray(100_000, 500_000), 8, 100);
            client.resume();
          },
        }),
    );

    await step(
      "answered early with 2 MB, its body unread",
      () =>
        completes(async (client) => {
          client.readSlowly(4_000_000);
          await client.write(postHead("/early-big", body.length));
          await client.write(body.subarray(0, 100_000));
          return await client.response();
        }, {
          check: (response) =>
            assert(isPattern(response, 2_000_000), `${response.length} bytes`),
          limit: lingering,
          leaves: isDeno,
          whileDraining: (client) =>
            sendInPieces(client, body.subarray(100_000, 500_000), 4, 50),
        }),
    );

    await step(
      "answered early before the signal, its body unread",
      async () => {
        const server = await startFixture();
        const [small, big] = [await server.connect(), await server.connect()];
        const answers = [small.response(), big.response()];
        await small.write(postHead("/early", body.length));
        await small.write(body.subarray(0, 100_000));
        big.readSlowly(2_000_000);
        await big.write(postHead("/early-big", body.length));
        await big.write(body.subarray(0, 100_000));
        assertEquals(text(await answers[0]!), "no need to read it");
        const whole = await answers[1]!; // 2 MB at 2 MB/s: no reset at 500 ms
        assert(isPattern(whole, 2_000_000), `${whole.length} bytes`);
        server.signal("SIGTERM");
        // Of 2 MB, Deno does not tell when they have been taken.
        if (isDeno) { for (const client of [small, big]) client.leave(); }
        const { exit } = await endedClean(server);
        assertWithin(exit.msSinceSignal, lingering, "the end");
      },
    );

    await step("answered early, and neither sends on nor leaves", async () => {
      const server = await startFixture();
      const client = await server.connect();
      await client.write(postHead("/early", body.length) + "a little of it");
      assertEquals(text(await client.response()), "no need to read it");
      server.signal("SIGTERM");
      const { exit } = await endedClean(server);
      assertWithin(exit.msSinceSignal, lingering, "the end");
      client.leave();
    });

    await step("pipelined behind another", async () => {
      if (runtime === "bun") {
        return note("it loses responses to pipelined requests, always");
      }
      const server = await startFixture();
      const client = await server.connect();
      void client.write(Buffer.concat([
        requestBytes("GET", "/slow?ms=600"),
        requestBytes("GET", "/slow?ms=700"),
      ]));
      await server.event("handling", { query: "?ms=600" });
      server.signal("SIGTERM");
      assertEquals(text(await client.response()), "slow but whole");
      if (isNode) {
        const second = await client.response();
        assertEquals(text(second), "slow but whole");
        assert(saysClose(second), "the last response does not say close");
      } else {
        const second = await client.response().catch(() => undefined);
        if (!second) note("a request pipelined behind the last is not read");
      }
      assertEquals((await client.closed).how, "fin");
      await endedClean(server);
    });

    await step(
      "getConnInfo goes on knowing the client",
      () =>
        completes(async (client) => {
          await client.get("/slow?ms=200");
          return await client.get("/conninfo");
        }, {
          env: { DRAIN_DELAY_MS: 600 },
          check: (response) =>
            assertEquals(
              JSON.parse(text(response)).remote.address,
              "127.0.0.1",
            ),
        }),
    );
  },
);

clause(
  "D6",
  "the end follows the last byte by milliseconds",
  async ({ step, note, measured }) => {
    const upload = postHead("/upload", 10) + "12345";
    const cases: [string, (client: RawClient) => unknown][] = [
      ["a slow response", (client) => client.send("GET", "/slow?ms=500")],
      ["a stream", (client) => client.send("GET", "/drip?n=6&ms=80")],
      ["an upload", async (client) => {
        await client.write(upload);
        await delay(600);
        await client.write("67890");
      }],
      ["30 MB, read slowly", (client) => {
        client.readSlowly(40_000_000);
        return client.send("GET", "/big");
      }],
    ];
    for (const [what, send] of cases) {
      const promised = what === "a stream" || what.startsWith("30 MB");
      if (isNode && promised) {
        note(
          "where a response said before the signal that its connection is " +
            "kept, idleGrace passes after it",
        );
      }
      const limit = isNode && promised ? 150 : 50;
      await step(what, async () => {
        measured(
          await bestOf(6, limit, `from the last byte of ${what}`, async () => {
            const server = await startFixture({ IDLE_GRACE_MS: 100 });
            const client = await server.connect();
            void send(client);
            await server.event("handling");
            server.signal("SIGTERM");
            const response = await client.response();
            const { exit } = await endedClean(server);
            return exit.at - response.lastByteAt;
          }),
        );
      });
    }
  },
);

clause(
  "D7",
  "a client that gives up stops counting, also when its handler never settles",
  async ({ step, note }) => {
    const requests: [string, string | Buffer][] = [
      ["/never", requestBytes("GET", "/never")],
      ["/never/heard", requestBytes("GET", "/never/heard")],
      ["/limited/never", postHead("/limited/never", 4) + "body"],
      ["/slow", requestBytes("GET", "/slow?ms=60000")],
      ["/endless", requestBytes("GET", "/endless")],
      ["/upload", postHead("/upload", 1000) + "half of it"],
    ];
    const ask = async (server: ServerProcess) => {
      const clients = [];
      for (const [path, request] of requests) {
        const client = await server.connect();
        await client.write(request);
        await server.event("handling", { path });
        clients.push(client);
      }
      return clients;
    };

    await step("before the signal", async () => {
      const server = await startFixture();
      const clients = await ask(server);
      for (const client of clients) client.leave();
      await Promise.all(clients.map(({ closed }) => closed));
      server.signal("SIGTERM");
      const { exit } = await endedClean(server);
      assertWithin(exit.msSinceSignal, 1400, "the end");
    });

    await step("after the signal", async () => {
      const server = await startFixture();
      const clients = await ask(server);
      server.signal("SIGTERM");
      await server.logged("shutdown began");
      await delay(600); // well into the drain
      assertEquals(server.exit, undefined, "they were waited for");
      for (const client of clients) client.leave();
      const leftAt = performance.now();
      const { exit, report } = await endedClean(server);
      assertWithin(exit.at - leftAt, 1000, "the end after they left");
      assertEquals(report.requests.inFlight, requests.length);
    });

    // What a runtime does not read, it does not see end.
    const unread: [string, string, RuntimeName | undefined, string][] = [
      [
        "amid an upload that nobody reads",
        postHead("/never", 1000) + "half of it",
        "deno",
        "a client that left amid an upload that nobody reads holds the drain " +
        "to its end",
      ],
      [
        "before its upgrade was answered",
        upgradeBytes("/never"),
        undefined,
        "",
      ],
    ];
    for (const [what, request, exception, told] of unread) {
      await step(what, async () => {
        const server = await startFixture({ DRAIN_TIMEOUT_MS: 700 });
        const client = await server.connect();
        await client.write(request);
        await server.event("handling", { path: "/never" });
        client.leave();
        await client.closed;
        server.signal("SIGTERM");
        if (runtime !== exception) return void await endedClean(server);
        note(told);
        const { report } = await ended(server, 1);
        assertEquals(report.requests.cut.map(({ path }) => path), ["/never"]);
      });
    }
  },
);

const { cert, key } = makeCertificate();
const overTls: Env = { TLS_CERT: cert, TLS_KEY: key };
/** What holds for the one has to hold for the other. */
const transports: [string, Env][] = [["", {}], [" over TLS", overTls]];

clause(
  "D8",
  "an event stream that heeds the signal ends whole, one that does not is cut at the deadline",
  async ({ step }) => {
    // Hono's own, whose handler watches the signal; and the engine's.
    const heeding: [string, RegExp][] = [
      ["/events", /event: bye\ndata: the server is leaving\n\n$/],
      ["/stream", /event: shutdown\ndata: the server is shutting down\n\n$/],
    ];
    for (const [over, env] of transports) {
      for (const [path, last] of heeding) {
        await step(`${path} heeding${over}`, async () => {
          const server = await startFixture(env);
          const client = await server.connect();
          const response = client.get(path);
          await client.received("event: hello");
          server.signal("SIGTERM");
          const whole = await response;
          assertMatch(text(whole), last);
          assertEquals((await client.closed).how, "fin");
          const { exit } = await endedClean(server);
          // Deno's last bytes over TLS have 250 ms.
          assertWithin(exit.msSinceSignal, over ? 950 : 700, "the end");
        });
      }

      await step(`heedless${over}`, async () => {
        const server = await startFixture({ ...env, DRAIN_TIMEOUT_MS: 700 });
        const client = await server.connect();
        void client.send("GET", "/endless");
        await client.received("tick");
        server.signal("SIGTERM");
        const named = { method: "GET", path: "/endless" };
        await server.logged("request cut", named);
        const { exit, report } = await ended(server, 1);
        assertEquals(report.outcome, "timeout");
        assertEquals(report.requests.cut.length, 1);
        assertWithin(exit.msSinceSignal, 1300, "the deadline");
        await client.closed;
        assertEquals(client.responses[0]?.whole, false);
      });
    }

    for (const [path, last] of heeding) {
      await step(`${path} heeding over HTTP/2`, async () => {
        const server = await startFixture(overTls);
        const client = await RawHttp2.dial(server.url);
        // Two on one connection: neither may end the other.
        const streams = [
          client.request("GET", path),
          client.request("GET", path),
        ];
        for (const stream of streams) {
          await client.brings(stream, "event: hello");
        }
        server.signal("SIGTERM");
        for (const stream of streams) {
          const response = await client.response(stream);
          assert(response.ok, "the status is not 200");
          assertMatch(text(response), last);
        }
        assertEquals(await client.goaway(), streams[1]);
        const lastByteAt = performance.now();
        client.leave();
        const { exit, report } = await endedClean(server);
        assertWithin(exit.at - lastByteAt, 700, "the end after the GOAWAY");
        assertEquals(report.requests.completed, 2);
      });
    }
  },
);

clause(
  "D9",
  "WebSockets are closed with 1001 after what was sent to them; a deaf peer is cut at the deadline",
  async ({ step, note }) => {
    const goingAway = { code: 1001, reason: "server is shutting down" };
    const open = async (server: ServerProcess) => {
      const socket = await RawWebSocket.connect(server.url, "/ws");
      await socket.message("welcome");
      return socket;
    };

    for (const [over, env] of transports) {
      await step(`an open socket is told why${over}`, async () => {
        const server = await startFixture(env);
        const socket = await open(server);
        socket.send("hello");
        await socket.message("echo hello");
        server.signal("SIGTERM");
        assertEquals(await socket.closed, { ...goingAway, how: "fin" });
        const { exit, report } = await endedClean(server);
        assertWithin(exit.msSinceSignal, 1000, "the end");
        assertEquals(report.sockets, { open: 1, cut: 0 });
        assertEquals(server.printed("socket closed").length, 1);
      });

      await step(`served on during the drain delay${over}`, async () => {
        const server = await startFixture({ ...env, DRAIN_DELAY_MS: 400 });
        const socket = await open(server);
        server.signal("SIGTERM");
        await server.logged("shutdown began");
        socket.send("still there?");
        await socket.message("echo still there?");
        assertEquals((await socket.closed).code, 1001);
        await endedClean(server);
      });

      await step(`6.5 MB on their way are delivered first${over}`, async () => {
        const server = await startFixture({
          ...env,
          LIMITS: '{"sendBuffer":8000000}',
        });
        const socket = await open(server);
        socket.pause();
        socket.send("flood");
        await server.event("flooded");
        server.signal("SIGTERM");
        await server.logged("shutdown began");
        await delay(300); // the server has every reason to give up by now
        socket.resume();
        const { code } = await socket.closed;
        assertEquals([code, socket.messages.includes("flooded")], [1001, true]);
        assert(socket.received > 6_553_600, `${socket.received} bytes arrived`);
        await endedClean(server);
      });

      await step(`many are closed in batches${over}`, async () => {
        const server = await startFixture({ ...env, SOCKET_BATCH: 2 });
        const sockets = await Promise.all(
          Array.from({ length: 7 }, () => open(server)),
        );
        server.signal("SIGTERM");
        const closed = await Promise.all(
          sockets.map((socket) => socket.closed),
        );
        assertEquals(closed.map(({ code }) => code), Array(7).fill(1001));
        const { report } = await endedClean(server);
        const closing = report.phases.find(({ phase }) => phase === "closing");
        assert((closing?.ms ?? 0) >= 290, `four batches in ${closing?.ms} ms`);
      });

      await step(
        `one that opens during the drain is closed too${over}`,
        async () => {
          const server = await startFixture({ ...env, IDLE_GRACE_MS: 600 });
          const kept = await server.connect();
          await kept.get("/");
          server.signal("SIGTERM");
          await server.logged(retiring);
          // On Node only a kept connection can still bring it.
          if (isNode) return kept.leave();
          const socket = await open(server);
          assertEquals((await socket.closed).code, 1001);
          await endedClean(server);
        },
      );

      await step(
        `a deaf peer does not outlive the deadline${over}`,
        async () => {
          const server = await startFixture({ ...env, DRAIN_TIMEOUT_MS: 700 });
          const socket = await open(server);
          socket.goDeaf();
          server.signal("SIGTERM");
          const exit = await server.exited;
          assertWithin(exit.msSinceSignal, 1500, "the deadline");
          const { sockets } = server.report();
          socket.leave();
          if (runtime === "bun") {
            note("its close does not wait for the peer to answer");
            return assertEquals([exit.code, sockets], [0, { open: 1, cut: 0 }]);
          }
          assertEquals([exit.code, sockets], [1, { open: 1, cut: 1 }]);
          await server.logged("sockets cut", { count: 1 });
        },
      );
    }

    await step("clients that go on sending are told, too", async () => {
      const server = await startFixture();
      const sockets = await Promise.all(
        Array.from({ length: 10 }, () => open(server)),
      );
      const talking = sockets.map(async (socket) => {
        const closed = socket.closed.then(({ code }) => code);
        for (let n = 0;; n++) {
          socket.send(`message ${n}`);
          const code = await Promise.race([closed, delay(n % 4)]);
          if (code !== undefined) return code;
        }
      });
      await delay(100);
      server.signal("SIGTERM");
      const codes = new Set(await Promise.all(talking));
      if (isDeno) {
        note(
          "a WebSocket whose client sends while it is being closed is dropped: " +
            "1006 in place of 1001",
        );
        codes.delete(1006);
        codes.add(1001);
      }
      assertEquals([...codes], [1001]);
      await endedClean(server);
    });

    await step("none over HTTP/2, so a client asks over HTTP/1.1", async () => {
      const server = await startFixture(overTls);
      const client = await RawHttp2.dial(server.url);
      await client.get("/");
      // A client may only try where the server has said that it can (RFC 8441).
      assertEquals(client.settings.get(ENABLE_CONNECT_PROTOCOL) ?? 0, 0);
      note("none over HTTP/2 (RFC 8441): clients open theirs over HTTP/1.1");
      const socket = await open(server);
      server.signal("SIGTERM");
      assertEquals(await socket.closed, { ...goingAway, how: "fin" });
      client.leave();
      await endedClean(server);
    });
  },
);

clause(
  "F1",
  "at the deadline what is left is cut and named, cleanup still runs, exit 1",
  async () => {
    const server = await startFixture({
      DRAIN_TIMEOUT_MS: 700,
      HOOKS: "db:ok",
    });
    const [never, upload, slow] = [
      await server.connect(),
      await server.connect(),
      await server.connect(),
    ];
    void never.send("GET", "/never?token=secret");
    void upload.write(postHead("/upload?token=secret", 10) + "12345");
    const answer = slow.get("/slow?ms=300");
    await server.event("handling", { path: "/never" });
    await server.event("handling", { path: "/upload" });
    await server.event("handling", { path: "/slow" });
    server.signal("SIGTERM");
    assertEquals(text(await answer), "slow but whole");
    const { exit, report } = await ended(server, 1);
    await Promise.all([never.closed, upload.closed]);

    assert(exit.msSinceSignal >= 690, "the deadline was not kept");
    assertWithin(exit.msSinceSignal, 1400, "the deadline");
    assertEquals(report.outcome, "timeout");
    assertEquals(report.requests.inFlight, 3);
    assertEquals(report.requests.completed, 1);
    const lines = server.printed("request cut");
    assertEquals(lines.map(({ json }) => json?.level), ["warn", "warn"]);
    for (const named of [lines.map(({ json }) => json), report.requests.cut]) {
      const cut = named.map((request) =>
        request as { method: string; path: string; ageMs: number }
      ).toSorted((a, b) => a.method < b.method ? -1 : 1);
      assertEquals(
        cut.map(({ method, path }) => `${method} ${path}`),
        ["GET /never", "POST /upload"],
      );
      for (const { ageMs } of cut) {
        assert(ageMs >= 500 && ageMs < 3000, `ageMs is ${ageMs}`);
      }
    }
    assertEquals(report.hooks.map(({ name }) => name), ["db"]);
    assertEquals(server.printed("hook done").length, 1);

    const upgrading = await startFixture({ DRAIN_TIMEOUT_MS: 300 });
    const client = await upgrading.connect();
    await client.write(upgradeBytes("/never"));
    await upgrading.event("handling", { path: "/never" });
    upgrading.signal("SIGTERM");
    const { report: { requests } } = await ended(upgrading, 1);
    assertEquals(requests.inFlight, 1);
    assertEquals(requests.cut.map(({ path }) => path), ["/never"]);
    await client.closed;
  },
);

clause(
  "F2",
  "a second signal forces at once, hooks get one last second, exit 1",
  async ({ step }) => {
    const twice = async (
      env: Record<string, string | number>,
      second: "SIGTERM" | "SIGINT",
      limit: number,
      hooks: string[],
    ) => {
      const server = await startFixture({
        DRAIN_TIMEOUT_MS: 20_000,
        CLEANUP_TIMEOUT_MS: 20_000,
        ...env,
      });
      const client = await server.connect();
      void client.send("GET", "/never");
      await server.event("handling");
      server.signal("SIGTERM");
      await delay(600); // beyond half a second, so not the same signal
      assertEquals(server.exit, undefined, "it did not wait");
      server.signal(second);
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "forced");
      assertWithin(exit.msSinceSignal, limit, "the force");
      assertEquals(
        report.requests.cut.map(({ method, path }) => [method, path]),
        [["GET", "/never"]],
      );
      assertEquals(server.printed("request cut").length, 1);
      assertEquals(
        server.printed("hook").map(({ json }) => json?.name),
        hooks,
      );
      await client.closed;
    };

    await step(
      "the same signal again",
      () => twice({ HOOKS: "db:ok" }, "SIGTERM", 400, ["db"]),
    );
    await step(
      "another signal",
      () => twice({ HOOKS: "db:ok" }, "SIGINT", 400, ["db"]),
    );
    await step(
      "with a hook that never settles",
      () =>
        twice({ HOOKS: "db:ok,queue:hang" }, "SIGTERM", 1500, ["queue", "db"]),
    );

    await step("while a hook hangs", async () => {
      const server = await startFixture({
        HOOKS: "queue:hang",
        CLEANUP_TIMEOUT_MS: 20_000,
      });
      server.signal("SIGTERM");
      await server.event("hook", { name: "queue" });
      await delay(600);
      server.signal("SIGTERM");
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "forced");
      assertWithin(exit.msSinceSignal, 1500, "the force");
    });
  },
);

clause(
  "F3",
  "the same signal repeated within half a second is one signal",
  async ({ step }) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      await step(name, async () => {
        const server = await startFixture();
        const client = await server.connect();
        const slow = client.get("/slow?ms=800");
        await server.event("handling");
        server.signal(name);
        await delay(3);
        server.signal(name); // what `bun run` and `deno task` do
        await delay(300);
        server.signal(name); // what an impatient finger does
        assertEquals(text(await slow), "slow but whole");
        const { report } = await endedClean(server);
        assertEquals(report.reason, name);
        assertEquals(server.printed("shutdown began").length, 1);
      });
    }

    // A quiet server is gone within milliseconds: the second half of the Ctrl-C
    // finds it on its way out.
    for (const gap of [0, 1, 2, 3, 4, 5, 6, 8]) {
      await step(`SIGINT ${gap} ms apart, and nothing to drain`, async () => {
        const server = await startFixture();
        server.signal("SIGINT");
        await delay(gap);
        if (!server.exit) server.signal("SIGINT");
        await endedClean(server);
      });
    }

    await step("SIGINT again, when the report is out", async () => {
      const server = await startFixture({ NO_EXIT: 1, LINGERS_MS: 200 });
      server.signal("SIGINT");
      await server.logged("shutdown finished");
      server.signal("SIGINT");
      await endedClean(server);
    });
  },
);

clause(
  "F4",
  "a hook or a job that never settles is named and cannot keep the process",
  async ({ step }) => {
    const overdue = async (
      env: Record<string, string | number>,
      message: string,
      name: string,
      kind: "hooks" | "jobs" | "waitUntil",
      before: (server: ServerProcess) => Promise<unknown> = async () => {},
    ) => {
      const server = await startFixture({ CLEANUP_TIMEOUT_MS: 400, ...env });
      await before(server);
      server.signal("SIGTERM");
      const line = await server.logged(message, { name });
      assertEquals(line.json?.level, "error");
      const { exit, report } = await ended(server, 1);
      assertEquals(report.outcome, "timeout");
      assertWithin(exit.at - line.at, 1300, "the end after the timeout");
      const record = report[kind].find((record) => record.name === name);
      assert(record?.error, `${kind} of the report do not blame ${name}`);
    };

    await step(
      "a hook",
      () =>
        overdue({ HOOKS: "queue:hang" }, "hook timed out", "queue", "hooks"),
    );
    await step(
      "a job",
      () => overdue({ JOBS: "stuck:hang" }, "job timed out", "stuck", "jobs"),
    );
    await step(
      "waitUntil",
      () =>
        overdue(
          {},
          "waitUntil timed out",
          "after-work",
          "waitUntil",
          async (s) => {
            const client = await s.connect();
            await client.get("/wait-until?ms=60000");
          },
        ),
    );
    await step("a hook keeps no other from its chance", async () => {
      const env = { HOOKS: "db:ok,queue:hang", CLEANUP_TIMEOUT_MS: 400 };
      const server = await startFixture(env);
      server.signal("SIGTERM");
      await ended(server, 1);
      assertEquals(server.printed("hook done")[0]?.json?.name, "db");
    });
  },
);

clause(
  "C1",
  "requests end first, then jobs and waitUntil, then hooks in reverse order",
  async () => {
    const server = await startFixture({
      HOOKS: "first:ok,second:50,third:ok",
      JOBS: "ticker:ok,mailer:ok",
    });
    const [slow, quick] = [await server.connect(), await server.connect()];
    const response = slow.get("/slow?ms=500");
    await server.event("handling", { path: "/slow" });
    await quick.get("/wait-until?ms=900");
    server.signal("SIGTERM");
    assertEquals(text(await response), "slow but whole");
    const { report } = await endedClean(server);

    const order = server.lines.map(({ json }) =>
      json?.event === "handled" && json.path === "/slow"
        ? "request"
        : ["job told", "job done", "waited", "hook", "hook done"].includes(
            String(json?.event),
          )
        ? [json?.event, json?.name].filter(Boolean).join(" ")
        : ""
    ).filter(Boolean);
    const at = (what: string) => {
      assert(order.includes(what), `no "${what}" among ${order.join(", ")}`);
      return order.indexOf(what);
    };
    assertEquals(at("request"), 0);
    for (const job of ["ticker", "mailer"]) {
      assert(at(`job told ${job}`) > at("request"), "a job ended too early");
      assert(at(`job done ${job}`) < at("hook third"), "a job was not awaited");
    }
    assert(at("waited") < at("hook third"), "waitUntil was not awaited");
    assertEquals(order.slice(at("hook third")), [
      ...["hook third", "hook done third"],
      ...["hook second", "hook done second"],
      ...["hook first", "hook done first"],
    ]);
    const names = (records: { name: string }[]) =>
      records.map(({ name }) => name).toSorted();
    assertEquals(names(report.jobs), ["mailer", "ticker"]);
    assertEquals(names(report.waitUntil).includes("after-work"), true);
    assertEquals(report.hooks.map(({ name }) => name), [
      "third",
      "second",
      "first",
    ]);
    assert((report.hooks[1]?.ms ?? 0) >= 45, "the second hook took 50 ms");
  },
);

clause(
  "C2",
  "a hook that throws stops no other, every error is reported, exit 1",
  async () => {
    const server = await startFixture({
      HOOKS: "a:ok,b:throw,c:ok,d:throw",
      JOBS: "mailer:throw",
    });
    server.signal("SIGTERM");
    const { report } = await ended(server, 1);
    assertEquals(report.outcome, "failed");
    assertEquals(
      server.printed("hook").map(({ json }) => json?.name),
      ["d", "c", "b", "a"],
    );
    assertEquals(report.errors.toSorted(), [
      "b would not close",
      "d would not close",
      "mailer broke",
    ]);
    assertEquals(
      report.hooks.map(({ name, error }) => [name, error]),
      [
        ["d", "d would not close"],
        ["c", undefined],
        ["b", "b would not close"],
        ["a", undefined],
      ],
    );
    assertEquals(report.jobs[0]?.error, "mailer broke");
    for (const name of ["b", "d"]) {
      const { json } = await server.logged("hook failed", { name });
      assertEquals(json?.error, `${name} would not close`);
    }
    await server.logged("job failed", { name: "mailer" });
  },
);

clause(
  "C3",
  "an uncaught error or an unhandled rejection is logged and shuts down gracefully with exit 1",
  async ({ step }) => {
    const cases = [
      ["/throw-later", "thrown later"],
      ["/reject-later", "rejected later"],
    ];
    for (const [path = "", error] of cases) {
      await step(path, async () => {
        const server = await startFixture({ HOOKS: "db:ok" });
        const [busy, bad] = [await server.connect(), await server.connect()];
        const slow = busy.get("/slow?ms=600");
        await server.event("handling", { path: "/slow" });
        assertEquals(text(await bad.get(path)), "watch out");
        const { json } = await server.logged("uncaught error", { error });
        assertMatch(String(json?.stack), /fixture/, "where it came from");
        assertEquals(text(await slow), "slow but whole");
        const { report } = await ended(server, 1);
        assertEquals(report.outcome, "failed");
        assertEquals(report.errors, [error]);
        assertEquals(report.requests.cut, []);
        assertEquals(report.hooks.map(({ name }) => name), ["db"]);
      });

      await step(`${path} while draining`, async () => {
        const server = await startFixture({ DRAIN_DELAY_MS: 300 });
        const [busy, bad] = [await server.connect(), await server.connect()];
        const slow = busy.get("/slow?ms=600");
        await server.event("handling", { path: "/slow" });
        server.signal("SIGTERM");
        await server.logged("shutdown began");
        await bad.get(path);
        assertEquals(text(await slow), "slow but whole");
        const { report } = await ended(server, 1);
        assertEquals(report.reason, "SIGTERM");
        assertEquals(report.errors, [error]);
      });
    }
  },
);

clause(
  "C4",
  "the report is the last line, and nothing written before it is lost in a pipe",
  async ({ step }) => {
    // Its stdout is a pipe whose reader stops when the shutdown begins, and
    // takes its time. What it reads then goes to a file, because the pipe that
    // Bun gives to a child does not block, and `cat` could not write to it.
    const slowStdout = '{ "$@"; echo $? > "$REST.exit"; } | {' +
      " while IFS= read -r line; do printf '%s\\n' \"$line\";" +
      ' case $line in *"shutdown began"*) break;; esac; done;' +
      ' sleep 0.7; cat > "$REST"; }';
    // Here its stderr is, which stays empty until the noise.
    const slowStderr = '{ { "$@" 2>&1 >&4; echo $? > "$REST.exit"; } |' +
      ' { sleep 1.2; cat > "$REST"; }; } 4>&1';

    await step("a reader of its output that goes away", async () => {
      const server = await startFixture();
      const client = await server.connect();
      server.closeOutput();
      for (let n = 0; n < 3; n++) {
        // This route writes lines of its own.
        assertEquals((await client.get("/slow?ms=10")).status, 200);
      }
      server.signal("SIGTERM");
      const { code } = await server.exited;
      assertEquals(code, 0);
    });

    for (const NOISE_TO of ["console", "stdout", "stderr"]) {
      await step(`1 MB through ${NOISE_TO}`, async () => {
        const REST = path.join(scratchFolder(), `rest-${NOISE_TO}`);
        const pipe = NOISE_TO === "stderr" ? slowStderr : slowStdout;
        const server = new ServerProcess(
          ["sh", "-c", pipe, "sh", ...await commandFor(fixture)],
          { env: { NOISE_BYTES: 1_000_000, NOISE_TO, REST } },
        );
        const { json } = await server.event("listening");
        process.kill(Number(json?.pid), "SIGTERM");
        await server.exited;
        assertEquals(fs.readFileSync(`${REST}.exit`, "utf8"), "0\n");

        const output = fs.readFileSync(REST, "utf8");
        const rest = output.trimEnd().split("\n");
        const noise = rest.filter((line) => /noise \d/.test(line));
        assertEquals(noise.length, 10_000, "lines of noise");
        for (const [n, line] of noise.entries()) {
          assertEquals(line, `noise ${n} `.padEnd(99, "."));
        }
        if (NOISE_TO === "stderr") assertEquals(server.report().exitCode, 0);
        else {
          const last = JSON.parse(rest.at(-1) ?? "");
          assertEquals([last.message, last.exitCode], ["shutdown finished", 0]);
        }
      });
    }

    await step("one report, with everything in it", async () => {
      const server = await startFixture({
        HOOKS: "db:ok",
        DRAIN_DELAY_MS: 100,
      });
      server.signal("SIGTERM");
      const { report } = await endedClean(server);
      assertEquals(server.printed("shutdown finished").length, 1);
      assertEquals(
        report.phases.map(({ phase }) => phase),
        ["starting", "serving", "draining", "closing", "cleanup"],
      );
      const draining = report.phases[2]?.ms ?? 0;
      assert(draining >= 90 && draining < 300, `draining took ${draining} ms`);
      assertEquals(report.requests, { inFlight: 0, completed: 0, cut: [] });
      const { json } = await server.logged("shutdown finished");
      assertEquals(json?.sockets, { open: 0, cut: 0 });
      assert(!Number.isNaN(Date.parse(String(json?.time))), "it has a time");
    });
  },
);

clause(
  "C5",
  "nothing is left behind: without an explicit exit the process ends by itself",
  async ({ step }) => {
    for (const NO_RUN of ["", "1"]) {
      const how = NO_RUN ? "serve alone" : "run";
      await step(`${how}, unused`, async () => {
        const server = await startFixture({ NO_EXIT: 1, NO_RUN });
        server.signal("SIGTERM");
        const { exit } = await endedClean(server);
        assertWithin(exit.msSinceSignal, 500, "the end");
      });

      await step(`${how}, after all kinds of traffic`, async () => {
        const server = await startFixture({
          NO_EXIT: 1,
          NO_RUN,
          JOBS: "ticker:ok",
          HOOKS: "db:ok",
          DRAIN_DELAY_MS: 50,
        });
        const kept = await server.connect();
        await kept.get("/");
        await kept.get("/drip?n=2&ms=10");
        await kept.get("/wait-until?ms=100");
        const events = await server.connect();
        const stream = events.get("/events");
        await events.received("hello");
        const upload = await server.connect();
        void upload.send("POST", "/upload-late?ms=300", { body: "12345" });
        await server.event("handling", { path: "/upload-late" });
        server.signal("SIGTERM");
        assertEquals(text(await upload.response()), "5");
        assertMatch(text(await stream), /event: bye/);
        const { exit } = await endedClean(server);
        const finished = await server.logged("shutdown finished");
        assertWithin(exit.at - finished.at, 300, "the end after the report");
      });
    }
  },
);

/** How users of this runtime start the app, and the binaries that takes. */
const startCommand = {
  deno: "deno task start",
  bun: "bun run start",
  node: "npm start",
}[runtime];

function wrapped(env: Record<string, string | number> = {}) {
  const PATH = [binFolder(), process.env.PATH].join(path.delimiter);
  // In a terminal the app would speak to people; /slow is a demonstration.
  return { cwd: root, env: { LOG_FORMAT: "json", DEMO: "true", ...env, PATH } };
}

/** A slow request in flight, through the wrapper; the real app has no events. */
async function slowRequest(
  server: Process,
  ms: number,
): Promise<{ client: RawClient; response: Promise<RawResponse> }> {
  const { json } = await server.logged("server listening");
  const port = Number(new URL(String(json?.url)).port);
  const client = await RawClient.connect(port);
  await client.send("GET", `/slow?ms=${ms}`);
  const response = client.response();
  response.catch(() => {}); // awaited by whoever wants it
  // Whatever was sent before this answer has been read by the server.
  const witness = await RawClient.connect(port);
  assertEquals((await witness.get("/livez")).status, 200);
  witness.leave();
  return { client, response };
}

function assertDrained(server: Process, code: number, reason: string): void {
  const [finished, ...more] = server.printed("shutdown finished");
  assertEquals(more, [], "one shutdown");
  assertEquals(
    [finished?.json?.exitCode, finished?.json?.reason],
    [code, reason],
    server.describe(),
  );
  assertEquals(
    [server.exit?.code, server.exit?.signal],
    [code, null],
    server.describe(),
  );
}

clause(
  "W1",
  "one Ctrl-C in a terminal drains, and the wrapper's exit code is the server's",
  async ({ step }) => {
    if (process.platform === "win32") throw new Skip("no pseudo-terminal here");
    await step(`${startCommand}, to the end`, async () => {
      const terminal = new Terminal(startCommand, wrapped());
      const { response } = await slowRequest(terminal, 900);
      terminal.ctrlC();
      assertEquals((await response).status, 200);
      await terminal.exited;
      assertDrained(terminal, 0, "SIGINT");
    });

    await step(`${startCommand}, to the deadline`, async () => {
      const terminal = new Terminal(
        startCommand,
        wrapped({ DRAIN_TIMEOUT_MS: 300 }),
      );
      const { client } = await slowRequest(terminal, 20_000);
      terminal.ctrlC();
      await terminal.exited;
      await client.closed;
      assertDrained(terminal, 1, "SIGINT");
    });
  },
);

clause(
  "W2",
  "SIGTERM to the wrapper drains, and its exit code is the server's",
  async ({ step }) => {
    const commands: string[][] = [startCommand.split(" ")];
    // `npm start` of W1 and of this clause has built it.
    if (isNode) commands.push([executable, path.join(root, "dist/main.js")]);
    for (const command of commands) {
      const how = command.map((part) => path.basename(part)).join(" ");
      await step(`${how}, to the end`, async () => {
        const server = new ServerProcess(command, wrapped());
        const { response } = await slowRequest(server, 900);
        server.signal("SIGTERM");
        assertEquals((await response).status, 200);
        await server.exited;
        assertDrained(server, 0, "SIGTERM");
      });

      await step(`${how}, to the deadline`, async () => {
        const env = wrapped({ DRAIN_TIMEOUT_MS: 300 });
        const server = new ServerProcess(command, env);
        const { client } = await slowRequest(server, 20_000);
        server.signal("SIGTERM");
        await server.exited;
        await client.closed;
        assertDrained(server, 1, "SIGTERM");
      });
    }
  },
);
