/**
 * Random clients in batches, a server for each batch. What is wrong after a
 * batch is looked for in halves of it, until one client, or few, are left that
 * do it; then that client's steps are left out one by one.
 */
import { Buffer } from "node:buffer";
import { runtime } from "../support/server_process.ts";
import { Dice, seedOf } from "./dice.ts";
import { type Case, perform, type Step, told } from "./steps.ts";
import { fixture, isSlowness, Polite, Target } from "./target.ts";
import { http1 } from "./http1.ts";
import { http2 } from "./http2.ts";
import { websocket } from "./websocket.ts";

export type Kind = "http1" | "http2" | "websocket";

const MAKERS: Record<Kind, (dice: Dice) => Step[]> = {
  http1,
  http2,
  websocket,
};

/** So many clients at a time. */
const LANES = 16;
/** How long a smaller reproduction is looked for, and all of them. */
const SEARCH = 25_000, SEARCH_ALL = 60_000;
/** ... by servers that have to give everything back within less time. */
const HURRIED = 2_000;
/** So often may the machine be too busy to tell whether the server is slow. */
const TRIES = 3;

export interface FuzzOptions {
  kind: Kind;
  seed: number;
  count: number;
  batch: number;
  /** One case alone. */
  only?: number | undefined;
}

interface Batch {
  kind: Kind;
  cases: Case[];
  tls: boolean;
  /** SIGTERM comes when so many have been; otherwise when all have left. */
  amid?: number | undefined;
}

export function caseOf(kind: Kind, seed: number, index: number): Case {
  return { index, steps: MAKERS[kind](new Dice(seedOf(seed, kind, index))) };
}

/** What the report of a failure says; nothing where all is well. */
export async function fuzz(options: FuzzOptions): Promise<string[]> {
  const { kind, seed, count, batch, only } = options;
  const polite = await Polite.start();
  const found: string[] = [];
  let search = SEARCH_ALL;
  try {
    for (let from = 0, number = 0; from < count; from += batch, number++) {
      const indices = only === undefined
        ? Array.from(
          { length: Math.min(batch, count - from) },
          (_, i) => from + i,
        )
        : Array<number>(LANES).fill(only);
      const cases = indices.map((index) => caseOf(kind, seed, index));
      // By number, not at random, so that few batches have them all.
      const tls = kind === "http2"
        ? runtime !== "deno" || number % 2 === 0
        : kind === "http1" && number % 3 === 1;
      const amid = number % 3 === 2 ? Math.floor(cases.length / 2) : undefined;
      const plan: Batch = { kind, cases, tls, amid };
      let faults: string[] = [];
      for (let tries = 0; tries < TRIES; tries++) {
        faults = await run(plan, polite);
        if (faults.length === 0 || !faults.every(isSlowness)) break;
      }
      if (faults.length > 0) {
        const began = performance.now();
        const what = await reduced(
          plan,
          faults,
          polite,
          Math.min(search, SEARCH),
        );
        search -= performance.now() - began;
        found.push(describe(options, plan, faults, what));
      }
      if (only !== undefined) break;
    }
  } finally {
    polite.leave();
  }
  return found;
}

async function run(
  plan: Batch,
  polite: Polite,
  patience?: number,
): Promise<string[]> {
  const { kind, cases, tls, amid } = plan;
  const target = await Target.start({
    tls,
    ...kind === "websocket" ? { source: fixture } : {},
  });
  const { faults } = target;
  try {
    polite.begin(target);
    let isWatched = true;
    const stopWatching = async () => {
      if (isWatched) await polite.stop(target);
      isWatched = false;
    };
    const protocol = tls && kind === "http2" ? "h2" : undefined;
    const queue = cases.entries();
    let drained: Promise<void> | undefined;
    const lane = async () => {
      for (const [number, one] of queue) {
        if (number === amid) {
          await stopWatching();
          drained = target.drain("any");
        }
        const accepted = await perform(
          one,
          target.url,
          protocol,
          (attacker) => {
            // HTTP/2's statuses are in the log and in its metrics alone.
            if (kind !== "http2" && attacker.statuses.includes(500)) {
              faults.push(`case ${one.index} was answered 500`);
            }
          },
        );
        if (!accepted && (drained || !await target.serves())) return;
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    if (drained) await drained;
    else {
      await target.serves();
      await stopWatching();
      await target.settle(patience);
      target.judgeMemory("settled");
      await target.drain();
    }
    if (target.figures.exit === 0 || target.figures.exit === 1) {
      target.judgeLog(kind === "websocket" ? /JSON/ : allowed);
    }
  } catch (error) {
    faults.push((error as Error).message);
  } finally {
    target.process.kill();
  }
  return faults;
}

/** Deno's HTTP/2 says on stderr what it thinks of a client, on its own. */
const allowed = /^recv[_ ]/;

/** The smallest that was found to do it in the time there is. */
async function reduced(
  plan: Batch,
  faults: string[],
  polite: Polite,
  ms: number,
): Promise<Case[]> {
  const until = performance.now() + ms;
  const shapes = faults.map(shape);
  const fails = async (cases: Case[]) => {
    if (performance.now() > until) return false;
    // One alone may leave too little behind to be seen.
    const many = cases.length === 1
      ? Array<Case>(LANES).fill(cases[0]!)
      : cases;
    const found = await run(
      { ...plan, cases: many, amid: undefined },
      polite,
      HURRIED,
    );
    return found.some((fault) => shapes.includes(shape(fault)));
  };
  let { cases } = plan;
  while (cases.length > 1) {
    const half = Math.ceil(cases.length / 2);
    const halves = [cases.slice(0, half), cases.slice(half)];
    const smaller = await fails(halves[0]!)
      ? halves[0]
      : await fails(halves[1]!)
      ? halves[1]
      : undefined;
    if (!smaller) return cases;
    cases = smaller;
  }
  const [one] = cases;
  return one ? [await smallest(one, (one) => fails([one]))] : [];
}

/** Without each step, and each part of what is written, that does not matter. */
async function smallest(
  one: Case,
  fails: (one: Case) => Promise<boolean>,
): Promise<Case> {
  const without = async (steps: Step[]) => {
    if (!await fails({ ...one, steps })) return false;
    one = { ...one, steps };
    return true;
  };
  for (let at = 0; at < one.steps.length && one.steps.length > 1;) {
    if (!await without(one.steps.toSpliced(at, 1))) at++;
  }
  for (let at = 0; at < one.steps.length; at++) {
    const bytes = () => {
      const step = one.steps[at];
      return step?.do === "write" ? step.bytes : undefined;
    };
    let size = (bytes()?.length ?? 0) >> 1;
    for (; size >= 1; size >>= 1) {
      for (let from = 0; from < (bytes()?.length ?? 0);) {
        const all = bytes()!;
        const rest = Buffer.concat([
          all.subarray(0, from),
          all.subarray(from + size),
        ]);
        const step: Step = { do: "write", bytes: rest };
        if (!await without(one.steps.toSpliced(at, 1, step))) from += size;
      }
    }
  }
  return one;
}

/** What kind of fault it is, whatever its numbers, names and times. */
const shape = (fault: string) =>
  fault.replace(/[0-9a-f-]{36}|\d+/g, "").slice(0, 40);

function describe(
  { kind, seed }: FuzzOptions,
  { tls, amid }: Batch,
  faults: string[],
  cases: Case[],
): string {
  const where = tls ? "over TLS" : "in plain text";
  return [
    `${kind} ${where}, SEED=${seed}${amid ? ", SIGTERM amid it" : ""}:`,
    ...faults.slice(0, 8).map((fault) => `  - ${fault}`),
    cases.length === 1
      ? `  this client does it, alone, ${LANES} at a time; again with SEED=${seed} ` +
        `CASE=${
          cases[0]!.index
        } npm run proof -- hostile/fuzz --filter ${kind}:`
      : `  by one of ${cases.length} clients, from case ${
        cases[0]?.index
      } on; ` +
        "or by several of them",
    ...cases.length === 1 ? [told(cases[0]!)] : [],
  ].join("\n");
}
