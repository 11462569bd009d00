/**
 * 20 shutdowns under load; `ROUNDS=200` for the long soak, `SEED=…` to repeat
 * one. The moments are the seed's, but the machine adds its own.
 */
import { after, test } from "node:test";
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { describe, soak } from "./soak.ts";
import { killAll, removeScratch } from "../contract/server_process.ts";

const rounds = Number(process.env.ROUNDS || 20);
const seed = Number(process.env.SEED || Date.now() % 1_000_000);

after(() => {
  killAll();
  removeScratch();
});

test(`${rounds} shutdowns under mixed load lose no response`, {
  timeout: 20_000 + rounds * 5_000,
}, async () => {
  const tally = await soak({ rounds, seed });
  const verdict = describe(tally, seed);
  console.log(verdict);
  assertEquals(tally.failures, [], verdict);
  assert(tally.inFlight >= rounds, "hardly a request was in flight");
  assert(tally.unaccepted <= rounds, "the accept queue was not emptied");
  assert(tally.crossed <= rounds / 4, "connections in use were closed");
});

test("the soak notices a server that exits on the spot", {
  timeout: 60_000,
}, async () => {
  const tally = await soak({ rounds: 3, seed, env: { ABRUPT: 1 } });
  const lost = tally.failures.filter((failure) => /ended/.test(failure));
  assert(lost.length > 0, `it saw nothing:\n${describe(tally, seed)}`);
});

test("the soak notices a server that does not wait long enough", {
  timeout: 60_000,
}, async () => {
  const env = { DRAIN_TIMEOUT_MS: 20 };
  const tally = await soak({ rounds: 3, seed, env });
  assert(
    tally.failures.some((failure) => /exit 1/.test(failure)),
    `it saw nothing:\n${describe(tally, seed)}`,
  );
});
