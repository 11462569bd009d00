// The template that the command has inside: the checkout that it runs from, or,
// where it is one built file, that file's last line.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { readProject } from "./files.js";

/** @import { Files } from "./files.js" */

const MARK = "\n//# template=";
/** What a project has no use for; its README is one of its own. */
const WORKSHOP =
  /^(proof|tools|docs|\.ci)\/|^(README|CONTRIBUTING)\.md$|^\.github\/.*\.md$/;

/** Whether this is the built file. */
export const isBuilt = () => builtFile() !== undefined;

/** @returns {string | undefined} */
function builtFile() {
  const { filename } = import.meta;
  return /template\.js$/.test(filename) ? undefined : filename;
}

/** @returns {Files} */
export function ownTemplate() {
  const file = builtFile();
  if (file !== undefined) return templateIn(readFileSync(file, "utf8"));
  return templateOf(readProject(join(import.meta.dirname, "../..")));
}

/** What of a checkout goes into projects. @param {Files} files @returns {Files} */
export function templateOf(files) {
  return new Map([...files].filter(([path]) => !WORKSHOP.test(path)));
}

/** @param {string} code @param {Files} template */
export function withTemplate(code, template) {
  const json = JSON.stringify([...template]);
  return `${code.trimEnd()}${MARK}${gzipSync(json).toString("base64")}\n`;
}

/** @param {string} code of a built file @returns {Files} */
export function templateIn(code) {
  const at = code.lastIndexOf(MARK);
  if (at < 0) throw new Error("there is no template in this file");
  const packed = code.slice(at + MARK.length).trim();
  return new Map(
    JSON.parse(gunzipSync(Buffer.from(packed, "base64")).toString()),
  );
}
