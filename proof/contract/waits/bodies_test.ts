/**
 * Bodies that cost their sender little: a chunk of one byte is six on the wire.
 * What the server holds for them is bounded, on any path, read or not, and it
 * goes on serving everybody else.
 */
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { clause } from "../../support/clause.ts";
import { bestOf, endedClean, isDeno } from "../../support/expect.ts";
import { type RawClient, text } from "../../support/raw_client.ts";
import {
  type ServerProcess,
  startFixture,
} from "../../support/server_process.ts";

const head = (method: string, path: string) =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n` +
  "Transfer-Encoding: chunked\r\n\r\n";
const CHUNKS = 10_000;
const tenThousand = Buffer.from("1\r\nx\r\n".repeat(CHUNKS));

/** The most memory that the process has ever had, in bytes. */
function peakOf(pid: number): number {
  const { stdout } = spawnSync("cat", [`/proc/${pid}/status`], {
    encoding: "utf8",
  });
  return Number(/VmHWM:\s*(\d+) kB/.exec(stdout)![1]) * 1024;
}

const sumOf = (bytes: Buffer) =>
  createHash("sha256").update(bytes).digest("hex");

/** Sends `count` one-byte chunks, for as long as the server takes any. */
async function sendChunks(client: RawClient, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += CHUNKS) {
    if (!await client.write(tenThousand)) return;
  }
  await client.write("0\r\n\r\n");
}

/** How long others wait, in milliseconds, until `over`. */
async function waitsOf(
  server: ServerProcess,
  over: Promise<unknown>,
): Promise<number[]> {
  let isOver = false;
  void over.then(() => isOver = true);
  const client = await server.connect();
  const waits: number[] = [];
  while (!isOver) {
    const asked = performance.now();
    assertEquals(text(await client.get("/")), "hello");
    waits.push(performance.now() - asked);
  }
  client.leave();
  return waits.sort((a, b) => a - b);
}

/** What nobody reads may be answered, and its connection closed, at any time. */
const cases: [method: string, path: string, status: number | undefined][] = [
  ["POST", "/limited/upload", 200],
  ["POST", "/limited/less", 413],
  ["POST", "/limited/nothing", 404],
  ["PUT", "/nothing", undefined],
  ["POST", "/early", undefined],
  ["GET", "/", undefined],
  ["HEAD", "/livez", undefined],
  ["POST", "/livez", undefined],
];

clause(
  "L2",
  "a body in chunks of one byte takes no more memory than its limit and a little, on any path, read or not",
  async ({ step, measured }) => {
    await step("a hundred thousand chunks, on any path", async () => {
      const server = await startFixture();
      const warm = await server.connect();
      for (let n = 0; n < 50; n++) await warm.get("/");
      warm.leave();
      const before = peakOf(server.pid);
      for (const [method, path, status] of cases) {
        const client = await server.connect();
        await client.write(head(method, path));
        const sending = sendChunks(client, 100_000);
        // Of what nobody reads the answer may be lost to a reset; and this client
        // would wait for the body that a HEAD's answer announces.
        const answer = method === "HEAD"
          ? await sending
          : await client.response().catch(() => undefined);
        if (status !== undefined) assertEquals(answer?.status, status, path);
        if (status === 200) assertEquals(text(answer!), "100000");
        if (status === undefined) client.leave();
        await sending;
        client.leave();
        const grown = (peakOf(server.pid) - before) / 1e6;
        assert(grown < 100, `${method} ${path}: it grew by ${grown.toFixed()}`);
      }
      const grown = (peakOf(server.pid) - before) / 1e6;
      measured(`100,000 one-byte chunks: ${grown.toFixed(0)} MB at the peak`);
      server.signal("SIGTERM");
      await endedClean(server);
    }, 60_000);

    // Deno can be made to spend 40 microseconds on each.
    const many = isDeno ? 300_000 : 1_000_000;
    await step(`${many} chunks, up to the limit`, async () => {
      const peaks: number[] = [];
      // Where the machine is busy, so is who collects the garbage.
      while (peaks.length < 3 && !peaks.some((grown) => grown < 100)) {
        const server = await startFixture();
        const client = await server.connect();
        await client.get("/");
        const before = peakOf(server.pid);
        await client.write(head("POST", "/limited/upload"));
        void sendChunks(client, many);
        assertEquals(text(await client.response()), String(many));
        client.leave();
        peaks.push((peakOf(server.pid) - before) / 1e6);
        server.signal("SIGTERM");
        await endedClean(server);
      }
      const said = peaks.map((grown) => grown.toFixed()).join(", ");
      measured(`${many} one-byte chunks: ${said} MB at the peak`);
      assert(peaks.some((grown) => grown < 100), `it grew by ${said} MB`);
    }, 80_000);

    await step("others are served meanwhile", async () => {
      const server = await startFixture();
      measured(
        await bestOf(
          8,
          250,
          "the slowest hundredth of other answers",
          async () => {
            const client = await server.connect();
            await client.write(head("POST", "/limited/upload"));
            void sendChunks(client, 300_000);
            const waits = await waitsOf(server, client.response());
            client.leave();
            return waits[Math.floor(waits.length * 0.99)]!;
          },
        ),
      );
      server.signal("SIGTERM");
      await endedClean(server);
    }, 60_000);

    await step("chunks of all sizes arrive whole and in order", async () => {
      const server = await startFixture();
      const bytes = Buffer.from(
        Array.from({ length: 700_000 }, (_, at) => (at * 7 + at / 251) % 251),
      );
      for (const path of ["/limited/sum", "/sum"]) {
        const client = await server.connect();
        await client.write(head("POST", path));
        const parts: Buffer[] = [];
        for (let at = 0, n = 0; at < bytes.length; n++) {
          // Many of one byte, then some that are not small, then any.
          const size = n < 9_000 ? 1 : n % 500 === 0 ? 20_000 : 1 + n % 40;
          const chunk = bytes.subarray(at, at += size);
          parts.push(
            Buffer.from(`${chunk.length.toString(16)}\r\n`),
            chunk,
            Buffer.from("\r\n"),
          );
        }
        parts.push(Buffer.from("0\r\n\r\n"));
        void client.write(Buffer.concat(parts));
        assertEquals(text(await client.response()), sumOf(bytes), path);
        client.leave();
      }
      server.signal("SIGTERM");
      await endedClean(server);
    }, 60_000);

    await step("SIGTERM amid them is heeded", async () => {
      const server = await startFixture();
      const client = await server.connect();
      await client.write(head("POST", "/limited/upload"));
      const sending = sendChunks(client, Infinity);
      const other = await server.connect();
      assertEquals(text(await other.get("/")), "hello");
      server.signal("SIGTERM");
      const exit = await server.exited;
      const { outcome, requests } = server.report();
      // Bun joins chunks, and gets to the end of its patience before the deadline.
      const answer = client.responses[0];
      assertEquals(
        [exit.code, outcome],
        answer ? [0, "clean"] : [1, "timeout"],
      );
      assertEquals(
        requests.cut.map(({ path }) => path),
        answer ? [] : ["/limited/upload"],
      );
      // 3 s of drain, and a second at most to cut what is left.
      assert(
        exit.msSinceSignal < 3000 + 1000 + 2000,
        `it ended after ${exit.msSinceSignal.toFixed(0)} ms`,
      );
      await sending;
    }, 30_000);
  },
);

clause(
  "H1",
  "an upload that its client abandons is no failure of the server's",
  async ({ step }) => {
    await step("in chunks, behind a limit", async () => {
      const server = await startFixture();
      for (const how of ["leave", "halfClose"] as const) {
        const client = await server.connect();
        await client.write(
          head("POST", "/limited/upload") + "4\r\nhalf\r\n",
        );
        await server.event("handling", { path: "/limited/upload" });
        client[how]();
        if (how === "halfClose") {
          // Whoever still reads is told, or sees the end.
          const answer = await client.response().catch(() => undefined);
          if (answer) assertMatch(String(answer.status), /^4\d\d$/);
        }
        await client.closed;
      }
      server.signal("SIGTERM");
      await endedClean(server);
      assertEquals(server.printed("handler failed"), []);
    });
  },
);
