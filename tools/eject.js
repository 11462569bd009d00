// Takes the example out: `npm run eject`, `deno task eject`, `bun run eject`.

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
import { parseArgs } from "node:util";

const HELP = `Takes the example out of this project.

  npm run eject      asks first; or bun run eject, deno task eject
  --yes              does not ask
  --force            also where git could not bring everything back
`;

/** What is the example's alone, this file among it. */
const removed = [
  "src/bookmarks",
  "tests/bookmarks",
  "proof/bookmarks",
  "docs/bookmarks.md",
  "tools/eject.js",
];
const skipped = ["node_modules", "dist", "data", ".git", ".env"];

const dependency = "postgres";
const variables = ["DATABASE_URL", "DATABASE_CONNECT_TIMEOUT_MS"];

/**
 * What taking the example out of the project in `root` comes to. Nothing is done
 * before `write` is called, which writes each changed file and removes the rest.
 *
 * Of the files that stay, those lines go that end in the comment "example:line"
 * and those between "example:begin" and "example:end", and from the package files
 * what only the example needs. What git ignores, a .env for one, is left alone:
 * git could not bring it back.
 *
 * @param {string} root
 */
export function ejection(root) {
  const gone = removed.filter((path) => existsSync(join(root, path)));
  const known = git(
    root,
    "ls-files",
    "-z",
    "--cached",
    "--others",
    "--exclude-standard",
  )?.split("\0");
  const changes = filesUnder(root, "")
    .filter((file) => known === undefined || known.includes(file))
    .flatMap((file) => {
      const before = readFileSync(join(root, file), "utf8");
      const text = special(file, before) ?? withoutMarked(file, before);
      return text === before ? [] : [{ file, text }];
    });
  return {
    gone,
    changed: changes.map(({ file }) => file),
    write() {
      for (const { file, text } of changes) {
        writeFileSync(join(root, file), text);
      }
      for (const path of gone) rmSync(join(root, path), { recursive: true });
    },
  };
}

/** Why what is removed could not be had back, if so. @param {string} root */
export function whatGitLacks(root) {
  const changed = git(root, "status", "--porcelain");
  if (changed === undefined) return "This is no work tree of git";
  return changed ? "There are changes that are not committed" : undefined;
}

/** @param {string} root @param {string[]} args */
function git(root, ...args) {
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

/** @param {string} root @param {string} under @returns {string[]} */
function filesUnder(root, under) {
  return readdirSync(join(root, under), { withFileTypes: true })
    .flatMap((entry) => {
      const path = under ? `${under}/${entry.name}` : entry.name;
      if (skipped.includes(entry.name) || removed.includes(path)) return [];
      if (entry.isDirectory()) return filesUnder(root, path);
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
    case "deno.json":
      return changed(text, (json) => {
        delete json.tasks.eject;
        const { env } = json.permissions.server;
        env.allow = env.allow.filter(isNotOurs);
        delete env.ignore;
      });
    case "deno.lock":
      return changed(text, (json) => {
        const isOurs = (/** @type {string} */ name) =>
          name.replace("npm:", "").startsWith(`${dependency}@`);
        for (const part of [json.specifiers, json.npm]) {
          for (const name of Object.keys(part)) {
            if (isOurs(name)) delete part[name];
          }
        }
        const { packageJson } = json.workspace;
        packageJson.dependencies = packageJson.dependencies
          .filter((/** @type {string} */ name) => !isOurs(name));
      });
    case "bun.lock": // JSON with trailing commas, one entry a line
      return text.replace(
        new RegExp(`^ *"${dependency}": ("[^"]*"|\\[.*\\]),\n\n?`, "gm"),
        "",
      );
  }
}

/** @param {string} name */
function isNotOurs(name) {
  return !variables.includes(name);
}

/** @param {string} text @param {(json: any) => void} change */
function changed(text, change) {
  const json = JSON.parse(text);
  const before = JSON.stringify(json);
  change(json);
  if (JSON.stringify(json) === before) return text;
  const written = JSON.stringify(json, null, 2) + "\n";
  // Where short lists stand on one line, they stay there.
  return /\["/.test(text)
    ? written.replace(
      /\[\s+("[\w./-]+"(?:,\s+"[\w./-]+"){0,2})\s+\]/g,
      (_, list) => `[${list.replace(/\s+/g, " ")}]`,
    )
    : written;
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

/** @param {string} root */
async function main(root) {
  /** @type {{ yes?: boolean, force?: boolean, help?: boolean }} */
  let options;
  try {
    options = parseArgs({
      options: {
        yes: { type: "boolean" },
        force: { type: "boolean" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    return 2;
  }
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const unsaved = whatGitLacks(root);
  if (unsaved && !options.force) {
    console.error(
      `${unsaved}; commit or stash first, so that git can bring the example ` +
        "back, or add --force.",
    );
    return 1;
  }
  const { gone, changed, write } = ejection(root);
  console.log("This takes the example out of the project. It removes\n");
  for (const path of gone) console.log(`  ${path}`);
  console.log("\nand every line that belongs to it from\n");
  for (const file of changed) console.log(`  ${file}`);
  console.log("");
  if (!options.yes && !await agrees()) {
    console.log("Nothing was changed.");
    return 1;
  }
  write();
  console.log("Done. `git diff` shows it, `npm install` brings it home;");
  console.log("what the example has stored in ./data is still there.");
  return 0;
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

if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  process.exitCode = await main(join(import.meta.dirname, ".."));
}
