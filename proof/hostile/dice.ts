import { Buffer } from "node:buffer";
import { seeded } from "../support/seeded.js";

/** Random choices that a seed decides. */
export class Dice {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seeded(seed);
  }

  /** From 0 up to, not including, `end`. */
  below(end: number): number {
    return Math.floor(this.#next() * end);
  }

  chance(of: number): boolean {
    return this.#next() < of;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** `make` called up to `most` times. */
  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

/** A seed for case `index` that does not depend on the cases before it. */
export function seedOf(seed: number, kind: string, index: number): number {
  let hash = seed >>> 0;
  for (const char of `${kind} ${index}`) {
    hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  }
  return hash;
}
