import process from "node:process";
import { FATES, LOST } from "./fate.js";

/** @import { Drill } from "./drill.js" */
/** @import { Load } from "./load.js" */
/** @import { Latency } from "./summary.js" */

const REDRAW_EVERY = 200;
/** A terminal is no place for hundreds; the picture has them all. */
const LOST_SHOWN = 20;

/** One line while a drill runs; where nobody watches, one per event. */
export class Progress {
  #began = performance.now();
  #text = "";
  /** @type {Load | undefined} */
  #load;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {string} text @param {Load} load */
  tell(text, load) {
    this.#text = text;
    this.#load = load;
    if (!process.stderr.isTTY) console.error(this.#line());
    else {
      this.#timer ??= setInterval(() => this.#redraw(), REDRAW_EVERY);
      this.#redraw();
    }
  }

  end() {
    clearInterval(this.#timer);
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }

  #redraw() {
    const width = (process.stderr.columns ?? 80) - 1;
    process.stderr.write(`\r\x1b[K${this.#line().slice(0, width)}`);
  }

  #line() {
    const requests = this.#load?.requests ?? [];
    let lost = 0, refused = 0;
    for (const { fate } of requests) {
      if (LOST.includes(fate)) lost++;
      else if (fate === "refused") refused++;
    }
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(1);
    return `${seconds.padStart(6)} s  ${count(requests.length, "request")}, ` +
      `${lost} lost, ${refused} refused  ${this.#text}`;
  }
}

/** The summary, for people. @param {Drill} drill @returns {string} */
export function describe({ what, options, ms, summary }) {
  const { requests, fates, latency, restarts, lost, verdict } = summary;
  const lines = [
    "",
    `${what}`,
    `${count(requests, "request")} in ${(ms / 1000).toFixed(1)} s: ` +
    `${options.rate} a second over ${options.connections} connections, ` +
    `${count(restarts.length, "restart")}` +
    (options.overlap ? ", the next started first" : ""),
    "",
  ];
  for (const fate of FATES) {
    lines.push(`  ${fate.padEnd(14)}${String(fates[fate]).padStart(8)}`);
  }
  lines.push(
    "",
    `  ${"latency in ms".padEnd(14)}     p50      p99      max`,
    `  ${"serving".padEnd(14)}${numbers(latency.serving)}`,
    `  ${"draining".padEnd(14)}${numbers(latency.draining)}`,
    "",
  );
  for (const [i, { ms, ending, outcome }] of restarts.entries()) {
    lines.push(
      `  restart ${i + 1}: ${Math.round(ms)} ms from signal to end, ${ending}` +
        (outcome ? `, "${outcome}" by its own report` : ""),
    );
  }
  if (lost.length > 0) {
    lines.push("", `  ${count(lost.length, "request")} lost:`);
    for (
      const { fate, method, path, at, moment, cause } of lost.slice(
        0,
        LOST_SHOWN,
      )
    ) {
      lines.push(
        `  ${(at / 1000).toFixed(3).padStart(9)} s  ${fate}: ` +
          `${method} ${path}, ${moment}: ${cause}`,
      );
    }
    const more = lost.length - LOST_SHOWN;
    if (more > 0) lines.push(`             and ${more} more`);
  }
  if (fates.refused > 0 && !options.overlap && !options.target) {
    lines.push(
      "",
      `  ${
        count(fates.refused, "request")
      } came while no server listened: start ` +
        "the next one first (--overlap),",
      "  or put a balancer in front of two (--target).",
    );
  }
  lines.push("", ...verdict.reasons.map((reason) => `FAILED: ${reason}`));
  if (verdict.ok) lines.push("ok: within the limits.");
  return lines.join("\n");
}

/** @param {Latency} latency */
function numbers({ count, p50, p99, max }) {
  if (count === 0) return "       -        -        -";
  return [p50, p99, max].map((ms) => ms.toFixed(1).padStart(8)).join(" ");
}

/** @param {number} n @param {string} what */
function count(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
