/**
 * Clients that take all the descriptors there are, and clients that send more
 * than anybody asked for. The others are served again as soon as that is over.
 */
import * as fs from "node:fs";
import { assertEquals } from "@std/assert";
import { clause } from "../../support/clause.ts";
import {
  assertWithin,
  bestOf,
  delay,
  endedClean,
  isDeno,
} from "../../support/expect.ts";
import { type RawClient, text } from "../../support/raw_client.ts";
import {
  commandFor,
  type Env,
  fixture,
  Process,
  ServerProcess,
  startFixture,
} from "../../support/server_process.ts";

const DESCRIPTORS = 128;
const hasLimits = fs.existsSync("/usr/bin/prlimit");

async function startLimited(env: Env = {}): Promise<ServerProcess> {
  const limit = ["prlimit", `--nofile=${DESCRIPTORS}`];
  const command = [...limit, ...await commandFor(fixture, env)];
  // Deno reads these at its first connection, and warns that it cannot.
  const noCerts = { NODE_EXTRA_CA_CERTS: "", DENO_CERT: "" };
  return await new ServerProcess(command, { env: { ...env, ...noCerts } })
    .listening();
}

/** Whether somebody was answered within a second. */
async function isServed(server: ServerProcess): Promise<boolean> {
  const client = await server.connect().catch(() => undefined);
  if (!client) return false;
  const answer = client.get("/").then((got) => text(got) === "hello")
    .catch(() => false);
  const served = await Promise.race([answer, delay(1000).then(() => false)]);
  client.leave();
  return served;
}

/** Silent clients, more of them than there are descriptors. */
async function takeAll(server: ServerProcess): Promise<RawClient[]> {
  const crowd: RawClient[] = [];
  for (let n = 0; n < 2 * DESCRIPTORS; n++) {
    // Where nobody listens just then, it is refused.
    const client = await server.connect().catch(() => undefined);
    if (!client) continue;
    crowd.push(client);
    // Bun accepts a connection with its first byte.
    await client.write("G");
  }
  if (isDeno) await server.logged("listener lost");
  return crowd;
}

clause(
  "H1",
  "clients that take every descriptor end nothing: who is in flight is answered, and all are served again when they leave",
  async ({ step, note, measured }) => {
    if (!hasLimits) return note("needs prlimit, as Linux has it");
    await step("silent connections beyond the limit", async () => {
      const server = await startLimited();
      const busy = await server.connect();
      const answer = busy.get("/slow?ms=4000");
      answer.catch(() => {}); // awaited below
      await server.event("handling", { path: "/slow" });
      const crowd = await takeAll(server);
      await delay(500);
      assertEquals(server.exit, undefined, "it has ended");
      crowd.forEach((client) => client.leave());
      await Promise.all(crowd.map(({ closed }) => closed));
      const leftAt = performance.now();
      while (!await isServed(server)) {
        assertWithin(performance.now() - leftAt, 10_000, "to serve again");
      }
      const ms = performance.now() - leftAt;
      measured(`served again after ${ms.toFixed(0)} ms`);
      assertEquals(text(await answer), "slow but whole");
      busy.leave();

      const last = await server.connect();
      const late = last.get("/slow?ms=600");
      await server.event("handling", { path: "/slow", query: "?ms=600" });
      server.signal("SIGTERM");
      assertEquals(text(await late), "slow but whole");
      last.leave();
      await endedClean(server);
    }, 30_000);

    await step("SIGTERM while there are none", async () => {
      const server = await startLimited();
      const busy = await server.connect();
      const answer = busy.get("/slow?ms=1500");
      answer.catch(() => {}); // awaited below
      await server.event("handling", { path: "/slow" });
      const crowd = await takeAll(server);
      server.signal("SIGTERM");
      assertEquals(text(await answer), "slow but whole");
      const { exit } = await endedClean(server);
      assertWithin(exit.msSinceSignal, 4000, "the end");
      for (const client of [busy, ...crowd]) client.leave();
    });
  },
);

clause(
  "H1",
  "clients that send their requests without waiting for an answer keep nobody else waiting",
  async ({ step, measured }) => {
    for (const FLOOD_METHOD of ["GET", "POST"]) {
      await step(FLOOD_METHOD, async () => {
        const server = await startFixture();
        const client = await server.connect();
        await client.get("/livez");
        const env = { FLOOD_PORT: server.port, FLOOD_METHOD };
        const flood = new Process(await commandFor("proof/support/flood.ts"), {
          env,
        });
        await flood.event("flooding");
        const what = `${FLOOD_METHOD}: the p95 of another client`;
        measured(
          await bestOf(3, 250, what, async () => {
            const times: number[] = [];
            const until = performance.now() + 8_000;
            while (times.length < 100 && performance.now() < until) {
              await delay(20);
              const askedAt = performance.now();
              await client.get("/livez");
              times.push(performance.now() - askedAt);
            }
            times.sort((a, b) => a - b);
            return times[Math.floor(times.length * 0.95)]!;
          }, 1),
        );
        flood.kill();
        await flood.exited;
        client.leave();
        server.signal("SIGTERM");
        await endedClean(server);
      }, 60_000);
    }
  },
);
