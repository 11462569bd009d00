/** What one hostile client does, step by step; random, printed and repeatable. */
import { Buffer } from "node:buffer";
import { Attacker } from "./attacker.ts";
import type { Dice } from "./dice.ts";

export type Step =
  | { do: "write"; bytes: Buffer }
  /** Does nothing for so many milliseconds. */
  | { do: "dawdle"; ms: number }
  /** Until anything has come back, or for `PATIENCE`. */
  | { do: "wait" }
  | { do: "go deaf" }
  | { do: "half-close" };

/** Long enough for most answers, and short enough for thousands of cases. */
const PATIENCE = 60;

export interface Case {
  index: number;
  steps: Step[];
}

/** Does it all, and leaves. Returns false where nobody takes the connection. */
export async function perform(
  { steps }: Case,
  url: string,
  protocol: string | undefined,
  seen: (attacker: Attacker) => void,
): Promise<boolean> {
  const attacker = await Attacker.dial(url, protocol);
  if (!attacker) return false;
  for (const step of steps) {
    if (attacker.isOver) break;
    switch (step.do) {
      case "write":
        await soon(attacker.write(step.bytes));
        break;
      case "dawdle":
        await delay(step.ms);
        break;
      case "wait": {
        const before = attacker.received;
        await attacker.until(() => attacker.received > before, PATIENCE);
        break;
      }
      case "go deaf":
        attacker.goDeaf();
        break;
      case "half-close":
        attacker.halfClose();
    }
  }
  seen(attacker);
  attacker.leave();
  return true;
}

const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Nobody waits long for a server that does not read. */
const soon = (work: Promise<void>) => Promise.race([work, delay(200)]);

/** In one write, or in pieces, or byte by byte. */
export function written(dice: Dice, bytes: Buffer): Step[] {
  const pieces: Buffer[] = [];
  if (bytes.length < 300 && dice.chance(0.05)) {
    for (const byte of bytes) pieces.push(Buffer.from([byte]));
  } else {
    let at = 0;
    for (const cut of cuts(dice, bytes.length)) {
      pieces.push(bytes.subarray(at, cut));
      at = cut;
    }
  }
  const dawdles = pieces.length > 1 && dice.chance(0.5);
  return pieces.flatMap((bytes, i): Step[] => [
    { do: "write", bytes },
    ...dawdles && i < 10 ? [{ do: "dawdle" as const, ms: dice.below(4) }] : [],
  ]);
}

function cuts(dice: Dice, length: number): number[] {
  return [
    ...dice.some(dice.pick([0, 0, 0, 4]), () => dice.below(length)),
    length,
  ]
    .sort((a, b) => a - b);
}

/** How most clients end: with an answer, without one, or half. */
export function ending(dice: Dice): Step[] {
  return dice.pick<Step[]>([
    [{ do: "wait" }],
    [{ do: "wait" }],
    [{ do: "wait" }, { do: "dawdle", ms: 20 }],
    [{ do: "half-close" }, { do: "wait" }],
    [{ do: "go deaf" }, { do: "dawdle", ms: 20 }],
    [{ do: "dawdle", ms: 3 }],
    [],
  ]);
}

/** A few bytes of it are not what they were. */
export function mutated(dice: Dice, bytes: Buffer): Buffer {
  let result = bytes;
  for (let count = 1 + dice.below(3); count > 0; count--) {
    const at = dice.below(result.length + 1);
    const to = Math.min(result.length, at + dice.below(20));
    const before = result.subarray(0, at), rest = result.subarray(at);
    const after = result.subarray(to);
    result = dice.pick([
      () => Buffer.concat([before, Buffer.from([dice.below(256)]), rest]),
      () => Buffer.concat([before, Buffer.from([0]), rest]),
      () => Buffer.concat([before, Buffer.from("\r\n"), rest]),
      () => Buffer.concat([before, dice.bytes(dice.below(40)), after]),
      () => Buffer.concat([before, after]),
      () => Buffer.concat([before, result.subarray(at, to), rest]),
      () => before,
      () => {
        const flipped = Buffer.from(result);
        if (at < flipped.length) flipped[at]! ^= 1 << dice.below(8);
        return flipped;
      },
      () =>
        Buffer.from(result.toString("latin1").replace("\r\n", "\n"), "latin1"),
    ])();
  }
  return result;
}

/** So that whoever reads it can do it too. */
export function told({ steps }: Case): string {
  return steps.map((step) => {
    switch (step.do) {
      case "write":
        return `write "${escaped(step.bytes)}"`;
      case "dawdle":
        return `dawdle for ${step.ms} ms`;
      case "wait":
        return `wait for an answer, at most ${PATIENCE} ms`;
      default:
        return step.do;
    }
  }).concat("leave").map((line) => `    ${line}`).join("\n");
}

/** As a string of JavaScript, long repetitions told by their number. */
function escaped(bytes: Buffer): string {
  const text = bytes.toString("latin1").replace(
    /[^ -~]|["\\]/g,
    (char) =>
      char === "\r"
        ? "\\r"
        : char === "\n"
        ? "\\n"
        : char === '"' || char === "\\"
        ? `\\${char}`
        : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return text.replace(
    /((?:\\x..|\\.|[^\\]){1,12}?)\1{19,}/g,
    (all, piece) => `…"${piece}" x${all.length / piece.length}…`,
  ).slice(0, 3_000);
}
