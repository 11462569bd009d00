// What the example is, and a project without it.

import { edited, withoutPackages } from "./packages.js";

/** What is the example's alone. */
const removed = [
  "src/bookmarks",
  "tests/bookmarks",
  "proof/bookmarks",
  "docs/bookmarks.md",
];

const dependency = "postgres";
const variables = ["DATABASE_URL", "DATABASE_CONNECT_TIMEOUT_MS"];

/** @import { Files } from "./files.js" */

/**
 * Of the files that stay, those lines go that end in the comment "example:line"
 * and those between "example:begin" and "example:end", and from the package files
 * what only the example needs.
 *
 * @param {Files} files
 * @returns {Files}
 */
export function withoutExample(files) {
  /** @type {Files} */
  const kept = new Map();
  for (const [file, text] of files) {
    if (isExample(file)) continue;
    kept.set(file, special(file, text) ?? withoutMarked(file, text));
  }
  return kept;
}

/** @param {string} file */
export function isExample(file) {
  return removed.some((path) => file === path || file.startsWith(`${path}/`));
}

/**
 * The package files cannot hold comments.
 *
 * @param {string} file @param {string} text
 */
function special(file, text) {
  switch (file) {
    case "package.json":
      return edited(
        withoutPackages(file, text, [dependency]) ?? text,
        (json) => delete json.scripts?.eject,
      );
    case "deno.json":
      return edited(text, (json) => {
        delete json.tasks?.eject;
        const env = json.permissions?.server.env;
        if (!env) return;
        env.allow = env.allow.filter(isNotOurs);
        delete env.ignore;
      });
    default:
      return withoutPackages(file, text, [dependency]);
  }
}

/** @param {string} name */
function isNotOurs(name) {
  return !variables.includes(name);
}

/** @param {string} file @param {string} text */
function withoutMarked(file, text) {
  const mark = (/** @type {string} */ word) =>
    new RegExp(`(^|\\s)(//|#|<!--) ${word}( -->)?\\s*$`);
  const [line, begin, end] = ["example:line", "example:begin", "example:end"]
    .map(mark);
  if (!line || !begin || !end) return text;

  const kept = [];
  let inside = false, cut = false;
  for (const current of text.split("\n")) {
    if (inside ? begin.test(current) : end.test(current)) {
      throw new Error(`${file} has a mark without its other half: ${current}`);
    }
    if (begin.test(current)) inside = true;
    else if (end.test(current)) {
      inside = false;
      cut = true;
    } else if (!inside && line.test(current)) cut = true;
    else if (!inside) {
      // Of the empty lines around what is gone, one is enough.
      if (!(cut && current === "" && kept.at(-1) === "")) kept.push(current);
      cut = false;
    }
  }
  if (inside) throw new Error(`${file} has an example:begin without its end`);
  return kept.join("\n");
}
