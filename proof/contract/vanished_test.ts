/**
 * Clients that are gone without a word: a laptop that sleeps, a phone without a
 * network. What they leave behind on a connection holds no drain for longer than
 * about a second, for nothing of it is in flight.
 */
import { Buffer } from "node:buffer";
import * as http2 from "node:http2";
import type * as net from "node:net";
import { assert, assertEquals } from "@std/assert";
import { makeCertificate } from "../support/certificate.ts";
import { clause } from "../support/clause.ts";
import { dial } from "../support/dial.ts";
import {
  assertWithin,
  delay,
  ended,
  endedClean,
  endsAfterAnswer,
  isDeno,
} from "../support/expect.ts";
import { isPattern, text } from "../support/raw_client.ts";
import {
  type Env,
  type ServerProcess,
  startFixture,
} from "../support/server_process.ts";

const { cert, key } = makeCertificate();
const tls = { TLS_CERT: cert, TLS_KEY: key };

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** A GET on this stream, in HPACK's plainest form. */
function get(stream: number, path: string): Buffer {
  const head = Buffer.concat(
    [[":method", "GET"], [":scheme", "https"], [":authority", "localhost"], [
      ":path",
      path,
    ]].map(([name = "", value = ""]) =>
      Buffer.from([
        0,
        name.length,
        ...Buffer.from(name),
        value.length,
        ...Buffer.from(value),
      ])
    ),
  );
  const frame = Buffer.alloc(9);
  frame.writeUIntBE(head.length, 0, 3);
  frame.set([1, 5], 3);
  frame.writeUInt32BE(stream, 5);
  return Buffer.concat([frame, head]);
}

/** Says this over HTTP/2, hears of `until`, and never again says or hears. */
async function vanish(
  server: ServerProcess,
  bytes: Uint8Array,
  until: (got: Buffer) => boolean,
): Promise<net.Socket> {
  const socket = await dial(server.url, "h2");
  socket.on("error", () => {});
  socket.write(Buffer.concat([Buffer.from(preface), settings, bytes]));
  let got: Buffer = Buffer.alloc(0);
  await new Promise<void>((resolve) => {
    socket.on("data", (data: Uint8Array) => {
      got = Buffer.concat([got, data]);
      if (until(got)) resolve();
    });
  });
  socket.pause();
  return socket;
}

const anything = () => true;
const hello = (got: Buffer) => got.includes("hello");

clause(
  "D10",
  "an HTTP/2 client that has vanished holds no drain for more than about a second",
  async ({ step, note, measured }) => {
    const env: Env = { ...tls, DRAIN_TIMEOUT_MS: 8000, IDLE_GRACE_MS: 100 };
    const ends = async (server: ServerProcess, what: string, limit = 2000) => {
      const { exit } = await endedClean(server);
      measured(`${what}: ${exit.msSinceSignal.toFixed(0)} ms`);
      assertWithin(exit.msSinceSignal, limit, "the end");
    };

    const cases: [string, Uint8Array, (got: Buffer) => boolean][] = [
      ["after its preface", Buffer.alloc(0), anything],
      ["after an answer", get(1, "/"), hello],
      ["with half a frame", Buffer.from([0, 9, 9, 1]), anything],
    ];
    for (const [what, bytes, until] of cases) {
      await step(what, async () => {
        const server = await startFixture(env);
        const client = await vanish(server, bytes, until);
        await delay(150); // it is not about the idle grace
        server.signal("SIGTERM");
        await ends(server, what);
        client.destroy();
      });
    }

    await step("while another is answered", async () => {
      const server = await startFixture(env);
      const gone = await vanish(server, get(1, "/"), hello);
      const held = await endsAfterAnswer(server, 1500);
      assertWithin(held, 2000, "the end after it");
      gone.destroy();
    });

    await step("while a slow reader takes 30 MB", async () => {
      const server = await startFixture(env);
      const gone = await vanish(server, get(1, "/"), hello);
      const client = await server.connect();
      client.readSlowly(8_000_000);
      const answer = client.get("/big");
      await server.event("handling", { path: "/big" });
      server.signal("SIGTERM");
      const response = await answer;
      assert(isPattern(response, 30_000_000), `${response.length} bytes`);
      client.leave();
      if (!isDeno) {
        await endedClean(server);
        gone.destroy();
        return;
      }
      note(
        "it does not tell which response is still being taken: a long one from " +
          "memory is waited for as if the client took 16 KB of it a second, " +
          "where a client that has vanished keeps shutdown() from telling; a " +
          "stream is waited for 4 s more",
      );
      const { report } = await ended(server, 1);
      assertEquals([report.outcome, report.requests.cut], ["timeout", []]);
      gone.destroy();
    });

    await step("with an event stream open", async () => {
      const server = await startFixture(env);
      const stream = (got: Buffer) => got.includes("event: hello");
      const client = await vanish(server, get(1, "/stream"), stream);
      server.signal("SIGTERM");
      await ends(server, "with an event stream", 2500);
      client.destroy();
    });
  },
);

clause(
  "D10",
  "HTTP/2 without TLS: served and drained whole, or not served at all",
  async ({ step, note }) => {
    await step("slow requests at the signal", async () => {
      const server = await startFixture({ IDLE_GRACE_MS: 100 });
      const client = http2.connect(
        server.url.replace("localhost", "127.0.0.1"),
      );
      const failed = new Promise<void>((resolve) =>
        client.on("error", () => resolve())
      );
      const answers = Array.from(
        { length: 20 },
        () =>
          new Promise<string>((resolve) => {
            const request = client.request({ ":path": "/slow?ms=900" });
            let body = "";
            request.setEncoding("utf8");
            request.on("data", (data) => body += data);
            request.on("end", () => resolve(body));
            request.on("error", (error) => resolve(error.message));
          }),
      );
      if (!isDeno) {
        // Not a word of it is served, and nobody else is the worse for it.
        await failed;
        assertEquals(server.printed("handling").length, 0);
        const witness = await server.connect();
        assertEquals(text(await witness.get("/")), "hello");
        witness.leave();
        server.signal("SIGTERM");
        await endedClean(server);
        return;
      }
      note("it speaks HTTP/2 without TLS, by prior knowledge");
      await server.event("handling", { path: "/slow" }, 20);
      server.signal("SIGTERM");
      const bodies = await Promise.all(answers);
      assertEquals(bodies, Array(20).fill("slow but whole"));
      const { report } = await endedClean(server);
      assertEquals(report.requests.completed, 20);
    });
  },
);
