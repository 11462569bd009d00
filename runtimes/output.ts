import type { Lost, Output } from "./runtime.ts";

/**
 * How much may wait for a reader, in characters: 4 MiB of JSON lines. As much
 * as an app may say in one breath and nothing of it be lost.
 */
export const MOST_WAITING = 4 * 1024 * 1024;
/** What is handed over at once, unless one entry is longer. */
const PIECE = 64 * 1024;

/** Resolves with how many of the bytes were taken; rejects where none can be. */
export type Sink = (bytes: Uint8Array) => Promise<number>;

const encoder = new TextEncoder();
const NOTHING = new Uint8Array();
const NEWLINE = 10;

/**
 * Lines on their way out. One write at a time, and it is never waited for;
 * where the reader is slower than the writer, the oldest lines make room, for
 * the last one is the report.
 */
export class BoundedOutput implements Output {
  readonly #sink: Sink;
  #waiting: string[] = [];
  #size = 0;
  #lost: Lost = { lines: 0, bytes: 0 };
  /** The rest of a line that was cut in two when the disk was full. */
  #begun = NOTHING;
  #describe = describe;
  #emptying: Promise<void> | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  readonly write = (
    lines: string,
    describeLost: (lost: Lost) => string = describe,
  ): void => {
    this.#describe = describeLost;
    this.#waiting.push(lines + "\n");
    this.#size += lines.length + 1;
    this.#emptying ??= this.#empty();
    while (this.#size > MOST_WAITING && this.#waiting.length > 1) {
      this.#lose(encoder.encode(this.#take()));
    }
  };

  /** Resolves when nothing waits any more, however that ended. */
  get flushed(): Promise<void> {
    return this.#emptying ?? Promise.resolve();
  }

  async #empty(): Promise<void> {
    while (this.#waiting.length > 0) {
      const told = this.#lost;
      this.#lost = { lines: 0, bytes: 0 };
      const notice = encoder.encode(
        told.lines > 0 ? this.#describe(told) + "\n" : "",
      );
      const newAt = this.#begun.length + notice.length;
      const bytes = concat(this.#begun, notice, encoder.encode(this.#take()));
      let done = 0;
      try {
        while (done < bytes.length) {
          done += await this.#sink(bytes.subarray(done));
        }
      } catch {
        // The next that gets through tells of it.
      }
      // Whole lines are lost, never the second half of one.
      const isWhole = done === 0
        ? this.#begun.length === 0
        : bytes[done - 1] === NEWLINE;
      const end = isWhole ? done : bytes.indexOf(NEWLINE, done) + 1;
      const isTold = end > this.#begun.length;
      this.#begun = bytes.slice(done, end);
      this.#lose(bytes.subarray(Math.max(end, newAt)));
      if (!isTold) {
        this.#lost.lines += told.lines;
        this.#lost.bytes += told.bytes;
      }
    }
    this.#emptying = undefined;
  }

  /** The oldest entries, as many as make a piece. */
  #take(): string {
    let length = 0;
    let count = 0;
    do length += this.#waiting[count++]!.length; while (
      count < this.#waiting.length &&
      length + this.#waiting[count]!.length <= PIECE
    );
    this.#size -= length;
    return this.#waiting.splice(0, count).join("");
  }

  #lose(bytes: Uint8Array): void {
    this.#lost.bytes += bytes.length;
    for (let at = -1; (at = bytes.indexOf(NEWLINE, at + 1)) >= 0;) {
      this.#lost.lines++;
    }
  }
}

function describe({ lines, bytes }: Lost): string {
  return `${lines} lines (${bytes} bytes) were lost here.`;
}

function concat(...parts: Uint8Array[]): Uint8Array {
  const some = parts.filter(({ length }) => length > 0);
  if (some.length === 1) return some[0]!;
  const whole = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of some) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
