// The drill: what a deploy does to your clients, as a picture and an exit code.
// `npm run drill`, `deno task drill`, `bun run drill`; --help tells the rest.

import { spawnSync } from "node:child_process";
import { closeSync, openSync, unlinkSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { drill } from "./drill.js";
import { renderHtml } from "./html.js";
import { HELP, readOptions } from "./options.js";
import { Problem } from "./problem.js";
import { describe, Progress } from "./terminal.js";

const BUNDLE = "dist/main.js";

/** @param {string[]} args @returns {Promise<number>} */
export async function main(args) {
  const own = ownCommand();
  const read = readOptions(args, own);
  if (!read.ok) {
    for (const problem of read.problems) console.error(problem);
    return 78; // EX_CONFIG, as sysexits.h has it
  }
  if (read.options === "help") {
    console.log(HELP);
    return 0;
  }
  const { options } = read;
  const files = [options.html, options.json].filter((file) =>
    file !== undefined
  );
  if (files.map(canWrite).includes(false)) return 78;
  if (options.command === own && own.includes(BUNDLE) && !isBuilt()) {
    return 1;
  }

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
    const written = write(options.html, renderHtml(seen));
    if (written) console.log(`${options.html} has the picture.`);
    const text = JSON.stringify(summary, null, 2);
    const told = !options.json || write(options.json, text);
    return seen.summary.verdict.ok && written && told ? 0 : 1;
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
  const file = process.versions["bun"] ? "src/main.ts" : BUNDLE;
  return [process.execPath, file];
}

function isBuilt() {
  const args = ["scripts/build.js"];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status === 0;
}

/**
 * Whether a file can be written is found out before the drill, not after.
 *
 * @param {string} file
 */
function canWrite(file) {
  return tryOn(file, () => {
    try {
      closeSync(openSync(file, "wx"));
      unlinkSync(file); // A drill that fails writes none.
    } catch (error) {
      const { code } = /** @type {NodeJS.ErrnoException} */ (error);
      if (code !== "EEXIST") throw error;
      closeSync(openSync(file, "a"));
    }
  });
}

/** @param {string} file @param {string} text */
function write(file, text) {
  return tryOn(file, () => writeFileSync(file, `${text}\n`));
}

/** @param {string} file @param {() => void} act */
function tryOn(file, act) {
  try {
    act();
    return true;
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    console.error(
      `${file} could not be written: ${message}; choose another file.`,
    );
    return false;
  }
}

// At once: a drill that gave up has left timers and a server.
if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  process.exit(await main(process.argv.slice(2)));
}
