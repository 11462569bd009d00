// Takes the example out: `npm run eject`, `deno task eject`, `bun run eject`.
//
//   --yes     do not ask
//   --force   also where git could not bring everything back
//
// Removes the files below, itself among them; of all other files the lines that
// end in the comment "example:line" and those between "example:begin" and
// "example:end"; and from the package files what only the example needs.
// Everything is worked out before anything is written. What git ignores, a .env
// for one, is left alone: git could not bring it back.

import { execFileSync } from "node:child_process";
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

const root = join(import.meta.dirname, "..");
const removed = [
  "src/bookmarks",
  "tests/bookmarks",
  "proof/bookmarks",
  "docs/bookmarks.md",
  "tests/postgres.js",
  "tools/eject.js",
];
const skipped = ["node_modules", "dist", "data", ".git", ".env"];

const dependency = "postgres";
const variables = ["DATABASE_URL", "DATABASE_CONNECT_TIMEOUT_MS", "PG*"];
const folder = "./data";

process.exitCode = await main();

async function main() {
  const unsaved = whatGitLacks();
  if (unsaved && !process.argv.includes("--force")) {
    console.error(
      `${unsaved}; commit or stash first, so that git can bring the example ` +
        "back, or add --force.",
    );
    return 1;
  }

  const gone = removed.filter((path) => existsSync(join(root, path)));
  const changes = [...edits()];
  console.log("This takes the example out of the project. It removes\n");
  for (const path of gone) console.log(`  ${path}`);
  console.log("\nand every line that belongs to it from\n");
  for (const { file } of changes) console.log(`  ${file}`);
  console.log("");
  if (!process.argv.includes("--yes") && !await agrees()) {
    console.log("Nothing was changed.");
    return 1;
  }

  for (const { file, text } of changes) writeFileSync(join(root, file), text);
  for (const path of gone) rmSync(join(root, path), { recursive: true });
  console.log("Done. `git diff` shows it, `npm install` brings it home;");
  console.log(`what the example has stored in ${folder} is still there.`);
  return 0;
}

/** Why what is removed could not be had back, if so. */
function whatGitLacks() {
  const changed = git("status", "--porcelain");
  if (changed === undefined) return "This is no work tree of git";
  return changed ? "There are changes that are not committed" : undefined;
}

/** @param {string[]} args */
function git(...args) {
  try {
    return execFileSync("git", args, {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return undefined;
  }
}

function agrees() {
  return new Promise((resolve) => {
    const { stdin: input, stdout: output } = process;
    const terminal = createInterface({ input, output });
    terminal.on("close", () => resolve(false));
    terminal.question("Go on? (y/N) ", (answer) => {
      resolve(/^y(es)?$/i.test(answer.trim()));
      terminal.close();
    });
  });
}

/** What each file will be, if it changes. */
function* edits() {
  const known = git(
    "ls-files",
    "-z",
    "--cached",
    "--others",
    "--exclude-standard",
  )
    ?.split("\0");
  for (const file of filesUnder("")) {
    if (known && !known.includes(file)) continue;
    const before = readFileSync(join(root, file), "utf8");
    const text = special(file, before) ?? withoutMarked(file, before);
    if (text !== before) yield { file, text };
  }
}

/** @param {string} under @returns {string[]} */
function filesUnder(under) {
  return readdirSync(join(root, under), { withFileTypes: true })
    .flatMap((entry) => {
      const path = under ? `${under}/${entry.name}` : entry.name;
      if (skipped.includes(entry.name) || removed.includes(path)) return [];
      if (entry.isDirectory()) return filesUnder(path);
      return entry.isFile() ? [path] : [];
    });
}

/**
 * The package files cannot hold comments.
 *
 * @param {string} file @param {string} text
 */
function special(file, text) {
  switch (file) {
    case "package.json":
      return changed(text, (json) => {
        delete json.scripts.eject;
        delete json.dependencies[dependency];
      });
    case "package-lock.json":
      return changed(text, (json) => {
        delete json.packages[""].dependencies[dependency];
        delete json.packages[`node_modules/${dependency}`];
      });
    case "deno.lock": // in a layout of its own
      return text
        .replace(new RegExp(`^ *"npm:${dependency}@.*\n`, "gm"), "")
        .replace(new RegExp(`^ *"${dependency}@[^}]*},?\n`, "gm"), "")
        .replace(/,(?=\s*[}\]])/g, "");
    case "bun.lock": // JSON with trailing commas, one entry a line
      return text.replace(
        new RegExp(`^ *"${dependency}": ("[^"]*"|\\[.*\\]),\n\n?`, "gm"),
        "",
      );
    case "deploy/Containerfile.deno": // its command is that of the task, as a list
      return text.replace(
        /"(--(?:allow|ignore)-(?:env|read|write)=[^"]*)", /g,
        (_, flag) => {
          const left = without(flag, [...variables, folder]);
          return left && `"${left}", `;
        },
      );
    case "deno.json":
      return text.replace(/^ *"eject": .*\n/m, "")
        .replace(
          / --(allow|ignore)-env=\S+/g,
          (flag) => without(flag, variables),
        )
        .replace(
          / --allow-(read|write)=\S+/g,
          (flag) => without(flag, [folder]),
        );
  }
}

/** @param {string} text @param {(json: any) => void} change */
function changed(text, change) {
  const json = JSON.parse(text);
  change(json);
  return JSON.stringify(json, null, 2) + "\n";
}

/**
 * A flag without some of its values; nothing, if none is left.
 *
 * @param {string} flag @param {string[]} values
 */
function without(flag, values) {
  const [name, list = ""] = flag.split("=");
  const left = list.split(",").filter((value) => !values.includes(value));
  return left.length > 0 ? `${name}=${left.join(",")}` : "";
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
