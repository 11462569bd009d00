/**
 * 2,000 random clients, after those of known_test.ts.
 *
 *   CASES=200000 SEED=random npm run proof -- --only bun hostile/fuzz
 *   SEED=7 CASE=123 npm run proof -- --only bun hostile/fuzz --filter http2
 *
 * The first is the long run, which has real tools in it; the second repeats what
 * a failure has printed.
 */
import { after, test } from "node:test";
import process from "node:process";
import { killAll, removeScratch } from "../support/server_process.ts";
import { fuzz, type Kind } from "./fuzz.ts";
import { realTools } from "./tools.ts";

const total = Number(process.env.CASES || 2_000);
const seed = process.env.SEED === "random"
  ? Date.now() % 1_000_000
  : Number(process.env.SEED || 11);
const only = process.env.CASE ? Number(process.env.CASE) : undefined;

after(() => {
  killAll();
  removeScratch();
});

/** How many of a hundred, and how many for one server. */
const shares: Record<Kind, { percent: number; batch: number }> = {
  http1: { percent: 45, batch: 300 },
  http2: { percent: 35, batch: 175 },
  websocket: { percent: 20, batch: 200 },
};

for (const [kind, { percent, batch }] of Object.entries(shares)) {
  const count = Math.round(total * percent / 100);
  test(`${kind}: ${count} random clients cost nobody else anything`, {
    timeout: 110_000 + count * 100,
  }, async () => {
    console.log(`${kind}: SEED=${seed}`);
    const found = await fuzz({
      kind: kind as Kind,
      seed,
      count,
      batch,
      only,
    });
    if (found.length > 0) throw new Error(`\n${found.join("\n\n")}`);
  });
}

if (process.env.CASES) realTools(seed);
