/** Chance that can be repeated: `SEED=…` gives the same once more. */
import process from "node:process";
import { seeded } from "../support/seeded.js";

export const seed = Number(process.env.SEED || Date.now() % 1_000_000);

export class Random {
  /** From 0 up to, not including, 1. */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = seeded(seed);
  }

  /** From `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  one<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length - 1)]!;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}
