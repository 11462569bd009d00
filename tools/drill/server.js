import { spawn } from "node:child_process";
import * as net from "node:net";
import process from "node:process";
import { alive } from "./alive.js";
import { pause } from "./pause.js";
import { Problem } from "./problem.js";

/** How long a server may take to listen, and what is tried meanwhile. */
const START_LIMIT = 60_000;
const TRY_EVERY = 20;
/** "Port 3000 is in use" names the port as well; then comes the end. */
const SETTLES = 200;
/** What Kubernetes gives a pod before it kills it. */
const EXIT_LIMIT = 30_000;
/** Of a server that has ended, how long its output may stay open. */
const OUTPUT_LIMIT = 500;
/** Of what a server printed, the end is enough to say what went wrong. */
const LINES_KEPT = 12;

/**
 * What lastcall's servers say last, as far as a drill reads it.
 *
 * @typedef {object} Report
 * @property {string} outcome
 * @property {{ phase: string, ms: number }[]} phases
 */

/** A process of the command, with its own word on how it ended. */
export class Server {
  startedAt = performance.now();
  /** @type {number | undefined} */
  readyAt;
  /** @type {number | undefined} */
  signalAt;
  /** @type {number | undefined} */
  exitAt;
  /** @type {number | null} */
  exitCode = null;
  /** @type {string | null} */
  exitSignal = null;
  /** We had to. */
  killed = false;
  /** @type {Report | undefined} */
  report;
  /** @type {number | undefined} */
  reportAt;
  /** @type {Promise<void>} */
  exited;

  #child;
  #port;
  #what;
  /** @type {string[]} */
  #lines = [];
  /** @type {(line: string) => void} */
  #onLine = () => {};

  /**
   * @param {string[]} command
   * @param {number} port
   * @param {boolean} sharesPort
   */
  constructor(command, port, sharesPort) {
    const [file = "", ...args] = command.map((word) =>
      word.replaceAll("{port}", String(port))
    );
    this.#what = [file, ...args].join(" ");
    this.#port = port;
    this.#child = spawn(file, args, {
      env: {
        ...process.env,
        PORT: String(port),
        HOST,
        ...(sharesPort ? { REUSE_PORT: "true" } : {}),
      },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own: our Ctrl-C is not its signal, and a wrapper's
      // children can be ended with it.
      detached: true,
    });
    this.#read(this.#child.stdout);
    this.#read(this.#child.stderr);
    this.exited = new Promise((resolve) => {
      this.#child.on("exit", (code, signal) => {
        this.exitAt ??= performance.now();
        this.exitCode = code;
        this.exitSignal = signal;
        // Now, while the number of its group cannot be somebody else's.
        this.#killGroup();
        alive.delete(this);

        // "close" comes when the output has been read to its end as well; but
        // a helper in a group of its own may keep that open for ever.
        const late = pause(OUTPUT_LIMIT);
        late.over.then(() => {
          this.#child.stdout.destroy();
          this.#child.stderr.destroy();
          resolve();
        });
        this.exited.then(late.cancel);
      });
      this.#child.on("close", () => resolve());
      this.#child.on("error", (error) => {
        this.exitAt ??= performance.now();
        this.#lines.push(error.message);
        alive.delete(this);
        resolve();
      });
    });
    alive.add(this);
  }

  /**
   * Resolves when it accepts connections. Where another shares its port, that
   * cannot be tried; then a line that names the port has to tell.
   *
   * @param {boolean} sharesPort
   */
  async ready(sharesPort) {
    const aborted = new AbortController();
    const how = sharesPort
      ? this.#saysSo().then(() => pause(SETTLES).over)
      : accepts(this.#port, aborted.signal);
    const late = pause(START_LIMIT);
    const first = await Promise.race([
      how.then(() => "ready"),
      this.exited.then(() => "exited"),
      late.over.then(() => "late"),
    ]);
    late.cancel();
    aborted.abort();
    this.readyAt = performance.now();
    if (first === "ready") return;
    const expected = sharesPort
      ? `a line of output with its port, ${this.#port}`
      : `a listener on ${HOST}:${this.#port}`;
    throw new Problem(
      first === "exited"
        ? `${this.#what}: ${this.ending()}, before it listened; expected ` +
          `${expected}. ${this.#lastWords()}`
        : `${this.#what}: ${START_LIMIT / 1000} s went by; expected ` +
          `${expected} (PORT tells it which). ${this.#lastWords()}`,
    );
  }

  /** Sends the signal and resolves when the process has ended. */
  /** @param {NodeJS.Signals} signal */
  async end(signal) {
    this.signalAt = performance.now();
    if (this.exitAt === undefined) this.#signal(signal);
    const late = pause(EXIT_LIMIT);
    late.over.then(() => {
      this.killed = true;
      this.kill();
    });
    await this.exited;
    late.cancel();
  }

  /** "exit code 1", "ended by SIGTERM". */
  ending() {
    if (this.killed) return `killed after ${EXIT_LIMIT / 1000} s`;
    return this.exitSignal
      ? `ended by ${this.exitSignal}`
      : `exit code ${this.exitCode ?? "none"}`;
  }

  kill() {
    this.exitAt ??= performance.now();
    this.#killGroup();
  }

  #killGroup() {
    try {
      process.kill(-(this.#child.pid ?? NaN), "SIGKILL");
    } catch {
      // The whole group is gone already.
    }
  }

  /** @param {NodeJS.Signals} signal */
  #signal(signal) {
    try {
      // On Deno, child.kill() makes the exit look as if the signal had been its
      // cause.
      process.kill(this.#child.pid ?? 0, signal);
    } catch (error) {
      const { code } = /** @type {NodeJS.ErrnoException} */ (error);
      // It has ended, and the news of that is on its way.
      if (code !== "ESRCH") throw error;
    }
  }

  #lastWords() {
    return this.#lines.length === 0
      ? "It printed nothing."
      : `It printed:\n${this.#lines.map((line) => `  ${line}`).join("\n")}`;
  }

  /** @returns {Promise<void>} */
  #saysSo() {
    return new Promise((resolve) => {
      this.#onLine = (line) => {
        if (saysPort(line, this.#port)) resolve();
      };
    });
  }

  /** @param {import("node:stream").Readable} stream */
  #read(stream) {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (/** @type {string} */ text) => {
      const lines = (rest + text).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) this.#heard(line);
    });
    stream.on("end", () => {
      if (rest) this.#heard(rest);
    });
  }

  /** @param {string} line */
  #heard(line) {
    this.#lines.push(line);
    if (this.#lines.length > LINES_KEPT) this.#lines.shift();
    const report = readReport(line);
    if (report) {
      this.report = report;
      this.reportAt = performance.now();
    }
    this.#onLine(line);
  }
}

export const HOST = "127.0.0.1";

/**
 * Whether a line of output names the port. npm, yarn, pnpm and Bun print the
 * command before they run it, and its port with it.
 *
 * @param {string} line
 * @param {number} port
 */
export function saysPort(line, port) {
  return !/^[>$] /.test(line) && line.split(/\D+/).includes(String(port));
}

/** @param {string} line @returns {Report | undefined} */
function readReport(line) {
  if (!line.startsWith("{") || !line.includes('"shutdown finished"')) return;
  try {
    const { message, outcome, phases } = JSON.parse(line);
    if (message !== "shutdown finished" || !Array.isArray(phases)) return;
    return { outcome: String(outcome), phases };
  } catch {
    return undefined; // Somebody else's line.
  }
}

/** @returns {Promise<number>} */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on("error", reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      const port = address && typeof address === "object" ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

/** @param {number} port @param {AbortSignal} aborted */
async function accepts(port, aborted) {
  while (!aborted.aborted && !(await isAccepted(port))) {
    await pause(TRY_EVERY).over;
  }
}

/** @param {number} port @returns {Promise<boolean>} */
function isAccepted(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host: HOST });
    socket.on("connect", () => {
      resolve(true);
      socket.end();
    });
    socket.on("error", () => resolve(false));
    socket.resume();
  });
}
