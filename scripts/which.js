import { execFileSync } from "node:child_process";

/**
 * Where the machine has a command. A file of its own, for tests that are
 * bundled for Node: runtimes.js is a program too, and would run inside them.
 *
 * @param {string} command
 * @returns {string | undefined}
 */
export function which(command) {
  try {
    const found = execFileSync("sh", ["-c", `command -v ${command}`], {
      encoding: "utf8",
    });
    return found.trim() || undefined;
  } catch {
    return undefined;
  }
}
