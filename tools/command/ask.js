// Questions to a person, on the three runtimes.

import process from "node:process";
import { createInterface } from "node:readline";

/** Whether there is anybody to ask. */
export const canAsk = () =>
  Boolean(process.stdin.isTTY && process.stdout.isTTY);

/**
 * The answer, or undefined where there will be none.
 *
 * @param {string} question
 * @returns {Promise<string | undefined>}
 */
export function ask(question) {
  return new Promise((resolve) => {
    const { stdin: input, stdout: output } = process;
    const terminal = createInterface({ input, output });
    terminal.on("close", () => resolve(undefined));
    terminal.question(`${question}\n> `, (answer) => {
      resolve(answer.trim());
      terminal.close();
    });
  });
}

/** @param {string} question */
export async function agrees(question) {
  return /^y(es)?$/i.test(await ask(`${question} (y/N)`) ?? "");
}
