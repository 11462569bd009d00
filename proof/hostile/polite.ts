/**
 * A client that means well: it asks for `/` every 20 ms on one kept connection,
 * and tells how long the answers took. A process of its own, so that the load
 * on the attacker's event loop is not taken for the server's slowness.
 *
 * On standard input: `{"url","pid"}` begins, `stop` prints the figures.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { RawClient } from "../support/raw_client.ts";

const EVERY = 20;

const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

/** How long a process was ready to run while the machine ran others, in ms. */
function waited(pid: number | "self"): number {
  try {
    const text = readFileSync(`/proc/${pid}/schedstat`, "utf8");
    return Number(text.split(" ")[1]) / 1e6;
  } catch {
    return 0; // not Linux, or the process has ended
  }
}

/** What a machine that is shared itself gave to others, in ms. */
function stolen(): number {
  try {
    const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
    return Number(line.split(/ +/)[8] ?? 0) * 10;
  } catch {
    return 0;
  }
}

class Watch {
  readonly #times: number[] = [];
  readonly #failures: string[] = [];
  readonly #url: string;
  readonly #pid: number;
  #isOver = false;
  #pending: (() => number) | undefined;

  constructor(url: string, pid: number) {
    this.#url = url;
    this.#pid = pid;
    void this.#ask();
  }

  async #ask(): Promise<void> {
    let client: RawClient | undefined;
    while (!this.#isOver) {
      const began = performance.now();
      const late = () => waited(this.#pid) + waited("self") + stolen();
      const before = late();
      // What the machine took away from the two processes is not the server's.
      this.#pending = () =>
        Math.max(0, performance.now() - began - (late() - before));
      try {
        if (!client || client.ending) {
          client = await RawClient.dial(this.#url);
        }
        const { status } = await client.get("/");
        if (status !== 200) throw new Error(`status ${status}`);
      } catch (error) {
        if (this.#isOver) break;
        this.#failures.push((error as Error).message);
        client?.leave();
        client = undefined;
      }
      if (this.#isOver) break;
      this.#note(this.#pending());
      this.#pending = undefined;
      const rest = EVERY - (performance.now() - began);
      if (rest > 0) await delay(rest);
    }
    client?.leave();
  }

  /** The questions that could not be asked meanwhile would have waited too. */
  #note(ms: number): void {
    for (let time = ms; time > 0; time -= EVERY) this.#times.push(time);
  }

  stop(): object {
    if (this.#pending) this.#note(this.#pending());
    this.#isOver = true;
    const sorted = this.#times.toSorted((a, b) => a - b);
    const at = Math.max(0, Math.ceil(sorted.length * 0.99) - 1);
    return {
      asked: sorted.length,
      p99: sorted[at] ?? 0,
      most: sorted.at(-1) ?? 0,
      failures: this.#failures.slice(0, 5),
    };
  }
}

let watch: Watch | undefined;
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "stop") {
    console.log(JSON.stringify({ event: "figures", ...watch?.stop() }));
    watch = undefined;
  } else {
    const { url, pid } = JSON.parse(line);
    watch = new Watch(url, pid);
  }
}
process.exit(0);
