import { assert, assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import { BoundedOutput, MOST_WAITING } from "../../runtimes/output.ts";
import type { Lost } from "../../runtimes/runtime.ts";
import { settle } from "../testing/fake_clock.ts";

/** A descriptor whose reader does what the test says. */
class FakeSink {
  taken = "";
  /** How many bytes may still be taken; none left is a failure. */
  room = Infinity;
  /** How many bytes are taken by one write. */
  atOnce = Infinity;
  calls = 0;
  #reading: (() => void) | undefined;
  #reads: Promise<void> | undefined;

  stop(): void {
    this.#reads = new Promise((resolve) => this.#reading = resolve);
  }

  async goOn(): Promise<void> {
    this.#reads = undefined;
    this.#reading?.();
    await settle();
  }

  readonly write = async (bytes: Uint8Array): Promise<number> => {
    this.calls++;
    await this.#reads;
    if (this.room === 0) throw new Error("no space left");
    const count = Math.min(bytes.length, this.room, this.atOnce);
    this.room -= count;
    this.taken += new TextDecoder().decode(bytes.subarray(0, count));
    return count;
  };

  get lines(): string[] {
    return this.taken.split("\n").slice(0, -1);
  }
}

function setup() {
  const sink = new FakeSink();
  const output = new BoundedOutput(sink.write);
  const write = (lines: string) => output.write(lines, describeLost);
  return { output, sink, write };
}

const describeLost = ({ lines, bytes }: Lost) => `lost ${lines} of ${bytes}`;

/** "line 7 ....", so that a missing or a torn one is seen. */
const line = (n: number, length = 100) => `line ${n} `.padEnd(length - 1, ".");

/** Checks that each line is whole, and returns its number or the loss. */
function numbers(lines: string[], length = 100): (number | string)[] {
  return lines.map((text) => {
    if (text.startsWith("lost ")) return text;
    const n = Number(/^line (\d+) \.+$/.exec(text)?.[1]);
    assertEquals(text, line(n, length));
    return n;
  });
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, n) => from + n);

describe("an output", () => {
  test("writes at once, in order, one write at a time", async () => {
    const { output, sink, write } = setup();
    write("a");
    assertEquals(sink.calls, 1);
    write("b\nc");
    write("d");
    assertEquals(sink.calls, 1);
    await output.flushed;
    assertEquals(sink.taken, "a\nb\nc\nd\n");
    assertEquals(sink.calls, 2);
    await output.flushed;
    write("e");
    await output.flushed;
    assertEquals(sink.lines.at(-1), "e");
  });

  test("goes on where a write took a part", async () => {
    const { output, sink, write } = setup();
    sink.atOnce = 7;
    for (const n of range(0, 30)) write(line(n));
    await output.flushed;
    assertEquals(numbers(sink.lines), range(0, 30));
  });

  test("is flushed when the reader has taken all of it, and not before", async () => {
    const { output, sink, write } = setup();
    sink.stop();
    write("a");
    write("b");
    let flushed = false;
    output.flushed.then(() => flushed = true);
    await settle();
    assert(!flushed);
    await sink.goOn();
    assert(flushed);
    assertEquals(sink.taken, "a\nb\n");
  });

  test("takes what exceeds ASCII", async () => {
    const { output, sink, write } = setup();
    sink.atOnce = 1000;
    write("ä€😀");
    await output.flushed;
    assertEquals(sink.taken, "ä€😀\n");
  });
});

describe("a reader that stops", () => {
  test("is left the latest lines, and told how many it missed", async () => {
    const { output, sink, write } = setup();
    sink.stop();
    const all = 2 * Math.floor(MOST_WAITING / 1000);
    for (const n of range(0, all)) write(line(n, 1000));
    await sink.goOn();
    await output.flushed;
    const [first, loss, ...rest] = numbers(sink.lines, 1000);
    // The one under way is no longer ours to drop.
    assertEquals(first, 0);
    const missing = all - 1 - rest.length;
    assertEquals(loss, `lost ${missing} of ${missing * 1000}`);
    assertEquals(rest, range(all - rest.length, all));
    assert(rest.length * 1000 <= MOST_WAITING);
    assert(rest.length * 1000 > MOST_WAITING * 0.9);
  });

  test("is left one line that is longer than all that may wait", async () => {
    const { output, sink, write } = setup();
    sink.stop();
    write("a");
    write("b");
    write("x".repeat(2 * MOST_WAITING));
    await sink.goOn();
    await output.flushed;
    assertEquals(sink.lines.map(({ length }) => length), [
      1,
      "lost 1 of 2".length,
      2 * MOST_WAITING,
    ]);
  });

  test("is told once, and of each gap by itself", async () => {
    const { output, sink, write } = setup();
    for (let n = 0; n < 2; n++) {
      sink.stop();
      write("a");
      write("b");
      write("x".repeat(MOST_WAITING));
      await sink.goOn();
      await output.flushed;
    }
    assertEquals(sink.lines.filter((text) => text.startsWith("lost")), [
      "lost 1 of 2",
      "lost 1 of 2",
    ]);
  });
});

describe("a write that fails", () => {
  test("costs its lines, and the next that gets through says so", async () => {
    const { output, sink, write } = setup();
    sink.room = 0;
    for (const n of range(0, 5)) write(line(n));
    await output.flushed;
    assertEquals(sink.taken, "");
    sink.room = Infinity;
    write(line(5));
    await output.flushed;
    assertEquals(numbers(sink.lines), ["lost 5 of 500", 5]);
  });

  test("tears no line in two, wherever it fails", async () => {
    for (const room of range(0, 450)) {
      const { output, sink, write } = setup();
      sink.room = room;
      write(line(0));
      for (const n of range(1, 4)) write(line(n));
      await output.flushed;
      // There is room for a part of what is left, and then for none.
      sink.room = room % 37;
      write(line(4));
      await output.flushed;
      sink.room = Infinity;
      write(line(5));
      await output.flushed;
      write(line(6));
      await output.flushed;
      const seen = numbers(sink.lines);
      const losses = seen.filter((n) => typeof n === "string");
      const lost = losses.map((text) => Number(text.split(" ")[1]))
        .reduce((sum, n) => sum + n, 0);
      const arrived = seen.filter((n) => typeof n === "number");
      assertEquals(arrived.length + lost, 7, `${room}: ${seen}`);
      assertEquals(arrived, arrived.toSorted((a, b) => a - b));
      assertEquals(arrived.slice(-2), [5, 6]);
      assert(losses.every((text) => {
        const [, lines, , bytes] = text.split(" ");
        return Number(bytes) === Number(lines) * 100;
      }));
    }
  });
});
