// A program that was started, is watched line by line, and is seen out.

import { spawn } from "node:child_process";
import process from "node:process";
import { cleanEnv } from "../../scripts/runtimes.js";

/** @type {Set<Program>} */
const running = new Set();

export class Program {
  /** @type {string[]} */
  lines = [];
  #child;
  #exit;
  /** @type {number | string | undefined} */
  #ended;
  /** @type {Set<() => void>} */
  #watchers = new Set();

  /**
   * @param {string[]} command
   * @param {Record<string, string>} [env]
   * @param {string} [cwd]
   */
  constructor([file = "", ...args], env = {}, cwd = undefined) {
    this.#child = spawn(file, args, {
      cwd,
      env: { ...cleanEnv(), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      let rest = "";
      stream.setEncoding("utf8");
      stream.on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        this.lines.push(...lines);
        this.#changed();
      });
    }
    /** @type {Promise<number | string>} */
    this.#exit = new Promise((resolve) => {
      this.#child.on("error", (error) => {
        this.lines.push(`${file} could not be started: ${error.message}`);
        resolve(127);
      });
      // "close" comes when the output has been read to its end as well.
      this.#child.on("close", (code, signal) => resolve(code ?? signal ?? 1));
    });
    running.add(this);
    this.#exit.then((ended) => {
      running.delete(this);
      this.#ended = ended;
      this.#changed();
    });
  }

  /** The nth line that fits, past or to come. @param {RegExp} pattern */
  line(pattern, nth = 1) {
    return /** @type {Promise<string>} */ (new Promise((resolve, reject) => {
      let seen = 0, found = 0;
      const look = () => {
        for (; seen < this.lines.length; seen++) {
          const line = this.lines[seen] ?? "";
          if (!pattern.test(line) || ++found < nth) continue;
          this.#watchers.delete(look);
          return resolve(line);
        }
        if (this.#ended === undefined) return;
        this.#watchers.delete(look);
        reject(
          new Error(
            `${this.#child.spawnfile} ended with ${this.#ended} before it ` +
              `wrote ${pattern}:\n${this.lines.slice(-12).join("\n")}`,
          ),
        );
      };
      this.#watchers.add(look);
      look();
    }));
  }

  /** @param {RegExp} pattern */
  matching(pattern) {
    return this.lines.filter((line) => pattern.test(line));
  }

  /** Asks it to end; resolves with how it did. @param {NodeJS.Signals} signal */
  end(signal = "SIGTERM") {
    if (this.#ended === undefined) this.#child.kill(signal);
    return this.#exit;
  }

  #changed() {
    for (const look of [...this.#watchers]) look();
  }
}

// What a broken run leaves behind would answer the next one's requests.
process.on("exit", () => {
  for (const program of running) void program.end("SIGKILL");
});
