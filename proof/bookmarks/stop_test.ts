/**
 * Ends at random moments under writes: what was acknowledged is stored.
 * `ROUNDS=100` for a long run, `SEED=…` to repeat one; the moments are the
 * seed's, but the machine adds its own.
 */
import { after, test } from "node:test";
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { killAll, removeScratch } from "../support/server_process.ts";
import { startApp } from "./app_process.ts";
import {
  kinds,
  missing,
  type TestDatabase,
  withDatabase,
} from "../../tests/bookmarks/databases.ts";
import { Random, seed } from "./random.ts";
import { Writers } from "./writers.ts";

const rounds = Number(process.env.ROUNDS || 5);
const timeout = 20_000 + rounds * 5_000;
const WRITERS = 8;

after(() => {
  killAll();
  removeScratch();
});

/** One server under writes, until `end` has ended it. */
async function round(
  database: TestDatabase,
  random: Random,
  end: (server: Awaited<ReturnType<typeof start>>) => void,
) {
  const server = await start(database);
  const writers = new Writers(server.port, random);
  const moment = writers.acknowledgements(random.between(1, 300));
  const load = writers.run(WRITERS);
  await moment;
  const before = writers.acknowledged.length;
  end(server);
  const exit = await server.exited;
  await load;
  return { server, writers, exit, late: writers.acknowledged.length - before };
}

function start({ here: { url, folder } }: TestDatabase) {
  return startApp({ DATABASE_URL: url }, folder);
}

for (const kind of kinds) {
  const skip = missing(kind);

  test(
    `${rounds} SIGTERMs under writes to ${kind}: every acknowledged bookmark and every audit line is stored`,
    {
      skip,
      timeout,
    },
    async () => {
      let [acknowledged, late] = [0, 0];
      for (let number = 0; number < rounds; number++) {
        const random = new Random(seed + number);
        await withDatabase(kind, async (database) => {
          const { server, writers, exit, ...result } = await round(
            database,
            random,
            (server) => server.signal("SIGTERM"),
          );
          const what = `SEED=${seed + number}`;
          assertEquals(exit.code, 0, `${what}: ${server.describe()}`);
          assertEquals(server.output("stderr"), "", what);
          assertEquals(writers.failures, [], what);
          assertEquals(await writers.missing(database), [], what);
          assertEquals(await writers.unaudited(database), [], what);

          const { outcome, jobs, hooks } = server.report();
          assertEquals(outcome, "clean");
          assertEquals(jobs.map(({ name }) => name), ["prune bookmarks"]);
          assertEquals(
            hooks.map(({ name }) => name),
            ["audit log", "bookmarks store"],
          );
          acknowledged += writers.acknowledged.length;
          late += result.late;
        });
      }
      console.log(
        `${kind}, SEED=${seed}: ${rounds} SIGTERMs, ${acknowledged} ` +
          `acknowledged, of them ${late} after the signal`,
      );
      assert(late > 0, "no write was in flight at any signal");
    },
  );

  test(
    `${rounds} SIGKILLs under writes to ${kind}: every acknowledged bookmark is still there`,
    {
      skip,
      timeout,
    },
    async () => {
      let acknowledged = 0;
      for (let number = 0; number < rounds; number++) {
        const random = new Random(seed + number);
        await withDatabase(kind, async (database) => {
          const { writers, exit } = await round(
            database,
            random,
            (server) => server.kill(),
          );
          const what = `SEED=${seed + number}`;
          assertEquals(exit.signal, "SIGKILL", what);
          assertEquals(writers.failures, [], what);
          assertEquals(await writers.missing(database), [], what);
          acknowledged += writers.acknowledged.length;

          // And a server that starts on what the killed one has left serves it.
          const server = await start(database);
          const client = await server.connect();
          for (const [id, bookmark] of writers.left) {
            if (bookmark === undefined) continue;
            const { status } = await client.get(`/bookmarks/${id}`);
            assertEquals(status, bookmark === "deleted" ? 404 : 200, what);
          }
          client.leave();
          server.signal("SIGTERM");
          assertEquals((await server.exited).code, 0, server.describe());
        });
      }
      console.log(
        `${kind}, SEED=${seed}: ${rounds} SIGKILLs, ${acknowledged} acknowledged`,
      );
    },
  );
}
