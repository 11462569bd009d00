/**
 * 20 shutdowns under load; `ROUNDS=200` for the long soak, `SEED=…` to repeat
 * one. The moments are the seed's, but the machine adds its own.
 */
import { after, test } from "node:test";
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { soak } from "./soak.ts";
import { describe, type Kind, kinds, total } from "./tally.ts";
import { killAll, removeScratch } from "../support/server_process.ts";

const rounds = Number(process.env.ROUNDS || 20);
const seed = Number(process.env.SEED || Date.now() % 1_000_000);

after(() => {
  killAll();
  removeScratch();
});

test(`${rounds} shutdowns under mixed load lose no response`, {
  timeout: 20_000 + rounds * 6_000,
}, async () => {
  const tally = await soak({ rounds, seed });
  const verdict = describe(tally, seed);
  console.log(verdict);
  assertEquals(tally.failures, [], verdict);
  assert(total(tally, "inFlight") >= rounds, "hardly a request was in flight");
  assert(
    total(tally, "unaccepted") <= rounds,
    "the accept queue was not emptied",
  );
  assert(
    total(tally, "crossed") <= rounds / 4,
    "connections in use were closed",
  );
  if (rounds < 3) return; // not every scene was there
  for (const kind of kinds) {
    const { answered } = tally.byKind[kind];
    assert(answered >= rounds / 2, `${kind}: ${answered} in ${rounds} rounds`);
  }
});

/**
 * Rounds with a server that is bad on purpose, one of each scene at a time: a
 * signal may come before there was anything to lose.
 */
function notices(
  what: string,
  env: Record<string, string | number>,
  expected: Partial<Record<Kind | "", RegExp>>,
): void {
  test(`the soak notices ${what}`, { timeout: 60_000 }, async () => {
    let missing = Object.entries(expected);
    const verdicts: string[] = [];
    for (let at = seed; at < seed + 9 && missing.length > 0; at += 3) {
      const tally = await soak({ rounds: 3, seed: at, env });
      verdicts.push(describe(tally, at));
      missing = missing.filter(([kind, pattern]) =>
        kind && tally.byKind[kind as Kind].lost === 0 ||
        !tally.failures.some((failure) =>
          failure.includes(`: ${kind}`) && pattern.test(failure)
        )
      );
    }
    assertEquals(missing, [], verdicts.join("\n"));
  });
}

notices("a server that exits on the spot", { ABRUPT: 1 }, {
  "HTTP/1.1": /ended/,
  TLS: /ended/,
  "HTTP/2": /ended/,
  WebSocket: /closed with 1006/,
  "event stream": /ended/,
  store: /is gone after the restart/,
});

notices(
  "a server that does not wait long enough",
  { DRAIN_TIMEOUT_MS: 20 },
  { "": /timeout, cut: \// },
);

notices(
  "WebSockets and streams that are dropped, and a store that forgets",
  { BAD: "sockets,streams,events,store" },
  {
    "HTTP/1.1": /\/drip/,
    TLS: /\/drip/,
    "HTTP/2": /\/drip/,
    WebSocket: /closed with 1000/,
    "event stream": /200 event: hello/,
    store: /is gone after the restart/,
  },
);

notices("echoes that come too late", { BAD: "echoes" }, {
  echo: /was not echoed/,
});
