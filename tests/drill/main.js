// The drill: what a deploy does to your clients, as a picture and an exit code.
// `npm run drill`, `deno task drill`, `bun run drill`; --help tells the rest.

import { writeFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { drill } from "./drill.js";
import { renderHtml } from "./html.js";
import { HELP, readOptions } from "./options.js";
import { Problem } from "./problem.js";
import { describe, Progress } from "./terminal.js";

/** @returns {Promise<number>} */
async function main() {
  const read = readOptions(process.argv.slice(2), ownCommand());
  if (!read.ok) {
    for (const problem of read.problems) console.error(problem);
    return 78; // EX_CONFIG, as sysexits.h has it
  }
  if (read.options === "help") {
    console.log(HELP);
    return 0;
  }
  const { options } = read;
  // Servers have process groups of their own: a Ctrl-C is ours alone. What is
  // alive ends with us.
  for (const signal of /** @type {const} */ (["SIGHUP", "SIGINT", "SIGTERM"])) {
    process.on(signal, () => process.exit(128 + constants.signals[signal]));
  }
  // Where nobody reads any more, the picture and the exit code still count.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => {});
  }

  const progress = new Progress();
  try {
    const seen = await drill(
      options,
      (text, load) => progress.tell(text, load),
    );
    progress.end();
    console.log(describe(seen));
    const { requests: _, connections: __, ...summary } = seen;
    if (options.json) write(options.json, JSON.stringify(summary, null, 2));
    write(options.html, renderHtml(seen));
    console.log(`${options.html} has the picture.`);
    return seen.summary.verdict.ok ? 0 : 1;
  } catch (error) {
    progress.end();
    if (!(error instanceof Problem)) throw error;
    console.error(error.message);
    return error.exitCode;
  }
}

/** The template's own server, on the runtime at hand. */
function ownCommand() {
  if (process.versions["deno"]) return [process.execPath, "task", "start"];
  const file = process.versions["bun"] ? "src/main.ts" : "dist/main.js";
  return [process.execPath, file];
}

/** @param {string} file @param {string} text */
function write(file, text) {
  try {
    writeFileSync(file, `${text}\n`);
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    throw new Problem(
      `${file} could not be written: ${message}; choose another file.`,
    );
  }
}

// At once: a drill that gave up has left timers and a server.
process.exit(await main());
