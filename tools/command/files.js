// A project as its files: reading one, writing one, and what git says of it.

import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** @typedef {Map<string, string>} Files the texts of a project, by path */

const SKIPPED = ["node_modules", "dist", "data", ".git", ".env"];
const NO_TEXT = /\.(png|ico|woff2)$/;

/**
 * What git knows of the folder and does not ignore; where there is no git, all of
 * it. Lines end in LF, whatever the work tree has.
 *
 * @param {string} root
 * @returns {Files}
 */
export function readProject(root) {
  const listed = git(
    root,
    "ls-files",
    "-z",
    "--cached",
    "--others",
    "--exclude-standard",
  );
  const paths = listed?.split("\0").filter(Boolean) ?? filesUnder(root, "");
  const files = paths.sort().filter((path) =>
    !NO_TEXT.test(path) &&
    lstatSync(join(root, path), { throwIfNoEntry: false })?.isFile()
  );
  return new Map(files.map((path) => [path, readText(join(root, path))]));
}

/** @param {string} file */
export function readText(file) {
  return readFileSync(file, "utf8").replaceAll("\r\n", "\n");
}

/** @param {string} root @param {string} under @returns {string[]} */
function filesUnder(root, under) {
  return readdirSync(join(root, under), { withFileTypes: true })
    .flatMap((entry) => {
      const path = under ? `${under}/${entry.name}` : entry.name;
      if (SKIPPED.includes(entry.name)) return [];
      if (entry.isDirectory()) return filesUnder(root, path);
      return entry.isFile() ? [path] : [];
    });
}

/**
 * Writes these files, and removes those, with the folders that are empty then.
 *
 * @param {string} root
 * @param {Files} files
 * @param {string[]} [gone]
 */
export function writeProject(root, files, gone = []) {
  for (const [path, text] of files) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    // What begins so is a program: git and npm would make it one anyway.
    writeFileSync(file, text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  for (const path of gone) {
    rmSync(join(root, path), { force: true });
    for (let at = dirname(path); at !== "."; at = dirname(at)) {
      const folder = join(root, at);
      if (existsSync(folder) && readdirSync(folder).length === 0) {
        rmdirSync(folder);
      }
    }
  }
}

/**
 * What git prints, or undefined where it cannot.
 *
 * @param {string} root @param {string[]} args
 */
export function git(root, ...args) {
  try {
    return execFileSync("git", args, {
      cwd: root,
      encoding: "utf8",
      maxBuffer: 1e9,
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return undefined;
  }
}

/** Why what is changed could not be had back, if so. @param {string} root */
export function whatGitLacks(root) {
  const changed = git(root, "status", "--porcelain");
  if (changed === undefined) return "This is no work tree of git";
  return changed ? "There are changes that are not committed" : undefined;
}

/**
 * The new project in one commit, by whoever git knows, or by the project itself.
 *
 * @param {string} root @param {string} name
 */
export function commitAll(root, name) {
  const known = git(root, "config", "user.email");
  const who = known
    ? []
    : ["-c", `user.name=${name}`, "-c", "user.email=nobody@localhost"];
  return git(root, "add", "--all") !== undefined &&
    git(
        root,
        ...who,
        "-c",
        "commit.gpgSign=false",
        "commit",
        "--quiet",
        "--no-verify",
        "--message",
        `${name}, from lastcall`,
      ) !== undefined;
}
