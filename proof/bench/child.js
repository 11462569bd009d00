// A process that the bench starts: pinned, listened to, measured, seen out.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import process from "node:process";
import { createInterface } from "node:readline";
import { cleanEnv } from "../../scripts/runtimes.js";
import { which } from "../../scripts/which.js";

/** @typedef {"server" | "client"} Side */

/** Server and client on a core each, where there are two and a way to say it. */
export const pinned = availableParallelism() > 1 &&
  which("taskset") !== undefined;

const CORE = { server: 0, client: 1 };

/** Ten thousand connections need as many descriptors, at both their ends. */
const MORE_DESCRIPTORS =
  'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$@"';

/** What is still alive ends with the bench, however that ends. */
/** @type {Set<Child>} */
const alive = new Set();
process.on("exit", () => {
  for (const child of alive) child.signal("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => process.exit(1));
}

export class Child {
  #process;
  /** @type {Map<string, Record<string, number>>} */
  #events = new Map();
  /** @type {Map<string, (event: Record<string, number>) => void>} */
  #waiting = new Map();
  #output = "";

  /** @param {Side} side @param {string[]} command */
  constructor(side, command) {
    this.#process = spawn("sh", [
      "-c",
      MORE_DESCRIPTORS,
      "sh",
      ...onItsCore(side, command),
    ], { env: childEnv(), stdio: ["pipe", "pipe", "pipe"] });
    alive.add(this);
    createInterface({ input: this.#process.stdout }).on("line", (line) => {
      this.#output += `${line}\n`;
      this.#heard(line);
    });
    this.#process.stderr.on("data", (text) => this.#output += text);
    // Writing to one that has died is no news: its exit is.
    this.#process.stdin.on("error", () => {});

    /**
     * Its exit code, or the signal that ended it, and when it was seen to end.
     *
     * @type {Promise<{ how: number | string, at: number }>}
     */
    this.exited = new Promise((resolve) => {
      this.#process.on("exit", (code, signal) => {
        const at = performance.now();
        alive.delete(this);
        resolve({ how: code ?? signal ?? "unknown", at });
      });
    });
  }

  get pid() {
    return this.#process.pid ?? 0;
  }

  /** @param {NodeJS.Signals} name */
  signal(name) {
    this.#process.kill(name);
  }

  /** Closes its stdin, and sees it out. */
  async leave() {
    this.#process.stdin.end();
    await this.exited;
  }

  /**
   * What it says in a line of JSON, past or to come.
   *
   * @param {string} name
   * @returns {Promise<Record<string, number>>}
   */
  event(name) {
    const heard = this.#events.get(name);
    if (heard) return Promise.resolve(heard);
    return Promise.race([
      new Promise((resolve) => this.#waiting.set(name, resolve)),
      this.exited.then(({ how }) => {
        const what = `A child ended (${how}) before it was ${name}`;
        throw new Error(`${what}, having printed:\n${this.#output}`);
      }),
    ]);
  }

  /** @param {string} line */
  #heard(line) {
    if (!line.startsWith('{"event":')) return;
    const event = JSON.parse(line);
    this.#events.set(event.event, event);
    this.#waiting.get(event.event)?.(event);
    this.#waiting.delete(event.event);
  }

  /** Seconds of processor time so far, of all its threads. */
  cpu() {
    const stat = readFileSync(`/proc/${this.pid}/stat`, "utf8");
    // Its name is in parentheses and may hold anything, so count from there.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Bytes in memory; what is shared with others counts by its share. */
  memory() {
    const rollup = readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8");
    return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]) * 1024;
  }
}

const TICKS_PER_SECOND = 100; // the same on every Linux, whatever its kernel's

/** @param {Side} side @param {string[]} command */
export function onItsCore(side, command) {
  return pinned ? ["taskset", "-c", `${CORE[side]}`, ...command] : command;
}

/** As in production; and srvx does not shut down gracefully where CI is set. */
function childEnv() {
  const { CI: _, TEST: __, PORT: ___, ...env } = cleanEnv();
  return { ...env, NODE_ENV: "production" };
}
