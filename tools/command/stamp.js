// What a project was made with, so that an upgrade knows what to compare.

/** @import { Files } from "./files.js" */

/**
 * @typedef {object} Choices
 * @property {string} name as npm takes it
 * @property {("deno" | "bun" | "node")[]} runtimes
 * @property {boolean} example
 * @property {string[]} deploy of DEPLOY in choices.js
 */

/** @typedef {Choices & { version: string }} Stamp */

export const STAMP = "lastcall/stamp.json";

/** @param {Files} files @returns {Stamp | undefined} */
export function stampOf(files) {
  const text = files.get(STAMP);
  return text === undefined ? undefined : JSON.parse(text);
}

/** @param {Stamp} stamp */
export function withStamp({ version, name, runtimes, example, deploy }) {
  const stamp = { version, name, runtimes, example, deploy };
  return `${JSON.stringify(stamp, null, 2)}\n`;
}

/** @param {Files} files */
export function engineVersion(files) {
  const text = files.get("lastcall/engine.json");
  return text === undefined ? undefined : String(JSON.parse(text).version);
}
