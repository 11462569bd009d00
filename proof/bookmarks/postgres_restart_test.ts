/** Postgres goes away and comes back: nobody hangs, and /readyz tells the truth. */
import { after, afterEach, test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { RawClient, type RawResponse } from "../support/raw_client.ts";
import {
  killAll,
  removeScratch,
  type ServerProcess,
} from "../support/server_process.ts";
import { startOwnPostgres } from "../../tests/postgres.js";
import { startApp } from "./app_process.ts";
import { missing } from "../../tests/bookmarks/databases.ts";

afterEach(killAll);
after(removeScratch);

const CLIENTS = 30;

async function ask(
  server: ServerProcess,
  path: string,
): Promise<RawResponse & { ms: number }> {
  const client = await RawClient.connect(server.port);
  const began = performance.now();
  const response = await client.get(path);
  client.leave();
  return Object.assign(response, { ms: performance.now() - began });
}

function crowd(server: ServerProcess) {
  return Promise.all(
    Array.from({ length: CLIENTS }, () => ask(server, "/bookmarks")),
  );
}

test(
  "while Postgres is away requests are told so at once, and when it is back they are answered",
  {
    skip: missing("Postgres"),
    timeout: 90_000,
  },
  async () => {
    const postgres = await startOwnPostgres();
    assert(postgres, "Postgres is there, and its programs are not");
    try {
      const server = await startApp({ DATABASE_URL: postgres.url });
      for (const { status } of await crowd(server)) assertEquals(status, 200);
      assertEquals((await ask(server, "/readyz")).status, 200);

      for (let restart = 1; restart <= 3; restart++) {
        await postgres.down();
        // Often, and from all connections: that is what made them wait for 20 s.
        for (let round = 0; round < 4; round++) {
          for (const { status, headers, ms } of await crowd(server)) {
            assertEquals(status, 503, server.describe());
            assertEquals(headers.get("retry-after"), "1");
            assert(ms < 2000, `a 503 took ${ms.toFixed()} ms`);
          }
        }
        assertEquals((await ask(server, "/readyz")).status, 503);

        await postgres.up();
        const back = performance.now();
        // As soon as it says that it is ready, everybody is served.
        let ready = 503;
        while (ready !== 200) ready = (await ask(server, "/readyz")).status;
        const answers = await crowd(server);
        const took = performance.now() - back;
        assert(took < 2500, `it took ${took.toFixed()} ms to come back`);
        for (const { status } of answers) {
          assertMatch(String(status), /^(200|503)$/, server.describe());
        }
        for (const { status } of await crowd(server)) assertEquals(status, 200);
      }

      assertEquals(server.printed("database unavailable").length, 3);
      assertEquals(server.printed("database available again").length, 3);
      assertEquals(server.printed("request failed"), []);
      server.signal("SIGTERM");
      assertEquals((await server.exited).code, 0, server.describe());
    } finally {
      await postgres.stop();
    }
  },
);
