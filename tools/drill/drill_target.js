import { spawn } from "node:child_process";
import { alive } from "./alive.js";
import { pause } from "./pause.js";

/** @import { Life, Say } from "./drill.js" */
/** @import { Load } from "./load.js" */
/** @import { Options } from "./options.js" */

/**
 * Runs what restarts a server elsewhere, under load.
 *
 * @param {Options} options
 * @param {Load} load
 * @param {Say} say
 */
export async function drillTarget(options, load, say) {
  const { signalCommand, restarts, between } = options;
  const began = performance.now();
  /** @type {Life[]} */
  const lives = [];
  /** @type {string[]} */
  const mishaps = [];

  load.start();
  for (let n = 1; n <= restarts && mishaps.length === 0; n++) {
    say(`serving, before restart ${n} of ${restarts}`);
    await pause(between).over;
    const signalAt = performance.now();
    say(`${signalCommand.join(" ")}, restart ${n} of ${restarts}`);
    const { ending, exitCode, exitSignal } = await run(signalCommand);
    const exitAt = performance.now();
    say(ending);
    if (exitCode !== 0) {
      mishaps.push(
        `${signalCommand.join(" ")}: ${ending}, in restart ${n}; expected ` +
          "exit code 0.",
      );
    }
    lives.push({
      startedAt: lives.at(-1)?.exitAt ?? began,
      readyAt: lives.at(-1)?.exitAt ?? began,
      signalAt,
      exitAt,
      ending,
      exitCode,
      exitSignal,
      report: undefined,
      reportAt: undefined,
    });
  }
  await pause(between).over;
  await load.stop();
  return { lives, mishaps, end: performance.now() };
}

/** A rollout may take its time; one that goes on for ever is none. */
const COMMAND_LIMIT = 600_000;

/**
 * @param {string[]} command
 * @returns {Promise<{ ending: string, exitCode: number | null, exitSignal: string | null }>}
 */
function run([file = "", ...args]) {
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      stdio: ["ignore", "inherit", "inherit"],
    });
    alive.add(child);
    const late = pause(COMMAND_LIMIT);
    /** @param {string} ending @param {number | null} exitCode @param {string | null} exitSignal */
    const over = (ending, exitCode, exitSignal) => {
      alive.delete(child);
      late.cancel();
      resolve({ ending, exitCode, exitSignal });
    };
    late.over.then(() => {
      child.kill("SIGKILL");
      over(`killed after ${COMMAND_LIMIT / 1000} s`, null, "SIGKILL");
    });
    child.on("error", ({ message }) => over(message, null, null));
    child.on("exit", (code, signal) => {
      over(signal ? `ended by ${signal}` : `exit code ${code}`, code, signal);
    });
  });
}
