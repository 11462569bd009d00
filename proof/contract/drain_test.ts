/** The drain: clauses D of lastcall/CONTRACT.md, against real processes. */
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { makeCertificate } from "../support/certificate.ts";
import { clause } from "../support/clause.ts";
import {
  assertRefused,
  assertWithin,
  bestOf,
  completes,
  delay,
  ended,
  endedClean,
  endsAfterAnswer,
  isBun,
  isDeno,
  isNode,
  postHead,
  retiring,
  saysClose,
  sendInPieces,
  stopsAtOnce,
} from "../support/expect.ts";
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
  type Env,
  runtime,
  type RuntimeName,
  ServerProcess,
  startFixture,
} from "../support/server_process.ts";

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
        if (isBun && !greeting) {
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
        const held = await endsAfterAnswer(server, 1300);
        assertWithin(held, 400, "the end after it");
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
      if (isBun) {
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
      [
        "/stream",
        /event: shutdown\ndata: the server is shutting down\nretry: \d+\n\n$/,
      ],
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
          // Long before its deadline, which is 3 s.
          assertWithin(exit.msSinceSignal, 1500, "the end");
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
  "D8",
  "an event stream that subscribes is told when the listener closes, one that finishes is waited for",
  async ({ step }) => {
    for (const [over, env] of transports) {
      await step(`the drain delay changes nothing${over}`, async () => {
        const server = await startFixture({ ...env, DRAIN_DELAY_MS: 500 });
        const client = await server.connect();
        const response = client.get("/phases");
        await client.received("data: serving");
        server.signal("SIGTERM");
        assertMatch(
          text(await response),
          /(data: serving\n\n)+(data: draining\n\n){2,}(data: closing\n\n)?event: shutdown\ndata: .+\nretry: \d+\n\n$/,
        );
        await server.event("stream over", { phase: "closing" });
        await endedClean(server);
      });

      await step(`an answer finishes, word by word${over}`, async () => {
        const server = await startFixture({ ...env, DRAIN_DELAY_MS: 200 });
        const client = await server.connect();
        const response = client.get("/answer");
        await client.received("data: word 1\n");
        server.signal("SIGTERM");
        const words = Array.from({ length: 10 }, (_, i) => `word ${i + 1}`);
        assertEquals(
          text(await response),
          words.map((word) => `data: ${word}\n\n`).join(""),
        );
        const { report } = await endedClean(server);
        assertEquals(report.requests.cut, []);
      });
    }

    await step("at the deadline an answer is cut, and named", async () => {
      const server = await startFixture({ DRAIN_TIMEOUT_MS: 400 });
      const client = await server.connect();
      void client.send("GET", "/answer");
      await client.received("data: word 1\n");
      server.signal("SIGTERM");
      const { report } = await ended(server, 1);
      assertEquals(report.requests.cut.map(({ path }) => path), ["/answer"]);
      await client.closed;
      assertEquals(client.responses[0]?.whole, false);
    });

    await step("as many at a time as WebSockets", async () => {
      const server = await startFixture({ SOCKET_BATCH: 2 });
      const clients = await Promise.all(
        Array.from({ length: 6 }, () => server.connect()),
      );
      const responses = clients.map((client) => client.get("/stream"));
      await Promise.all(
        clients.map((client) => client.received("event: hello")),
      );
      server.signal("SIGTERM");
      const ends = (await Promise.all(responses))
        .map(({ lastByteAt }) => lastByteAt);
      // Three batches, and 100 ms between two of them.
      const spread = Math.max(...ends) - Math.min(...ends);
      assert(spread > 150, `all ended within ${spread.toFixed(0)} ms`);
      await endedClean(server);
    });
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
          if (isBun) {
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
