// `lastcall create` and `lastcall init`: a project of one's own.

import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { agrees, ask, canAsk } from "./ask.js";
import { choose, HELP as CHOICES } from "./choices.js";
import {
  commitAll,
  git,
  readProject,
  whatGitLacks,
  writeProject,
} from "./files.js";
import { ownText } from "./pack.js";
import { Problem } from "./problem.js";
import { projectOf } from "./project.js";
import { ownTemplate, templateOf } from "./template.js";

/** @import { Choices } from "./stamp.js" */

export const HELP =
  `Makes a project of your own, in a folder that is empty or new.

  lastcall create FOLDER

${CHOICES}`;

export const INIT_HELP =
  `Makes the clone of lastcall in this folder a project of your own, in one commit.

  lastcall init

${CHOICES}`;

/** @param {string[]} args */
export async function create(args) {
  // The first question is where; the flags come after.
  if (!args.some((arg) => !arg.startsWith("-")) && canAsk()) {
    const folder = await ask("Which folder?");
    if (folder) args = [folder, ...args];
  }
  const { choices, folder, git: wantsGit } = await choose(
    args,
    (folder) => basename(resolve(folder ?? ".")).toLowerCase(),
  );
  if (!folder) {
    throw new Problem("Say which folder: lastcall create my-service");
  }
  const target = resolve(folder);
  refuseTarget(folder, target);
  if (wantsGit) needGit();

  const project = projectOf(ownTemplate(), choices, await ownText());
  const scratch = scratchBeside(folder, target);
  const clean = () => rmSync(scratch, { recursive: true, force: true });
  process.once("exit", clean);
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    process.once(signal, () => process.exit(1));
  }
  try {
    writeProject(scratch, project);
    if (wantsGit) {
      const isRepository =
        git(scratch, "init", "--quiet", "--initial-branch=main") !== undefined;
      if (!isRepository || !commitAll(scratch, choices.name)) {
        throw new Problem("git would not commit; try again with --no-git.");
      }
    }
    move(scratch, target);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(
      `${folder} could not be written, and nothing was left there: ${
        /** @type {Error} */ (error).message
      }`,
    );
  }
  tell(choices, folder);
  return 0;
}

/** In the clone in this folder. @param {string} root @param {string[]} args */
export async function init(root, args) {
  const { choices, folder, git: commits, agreed } = await choose(
    args,
    () => basename(resolve(root)).toLowerCase(),
  );
  if (folder) throw new Problem("init takes no folder: it works in this one.");
  if (!existsSync(join(root, "lastcall/engine.json"))) {
    throw new Problem(
      "This is no clone of lastcall: there is no lastcall/engine.json here.",
    );
  }
  if (existsSync(join(root, "lastcall/stamp.json"))) {
    throw new Problem(
      "This is a project already; lastcall/stamp.json says so.",
    );
  }
  const unsaved = whatGitLacks(root);
  if (unsaved) {
    throw new Problem(
      `${unsaved}; commit or stash first, so that git can bring everything back.`,
    );
  }
  const before = readProject(root);
  const after = projectOf(templateOf(before), choices, await ownText());
  const tracked = git(root, "ls-files", "-z")?.split("\0").filter(Boolean) ??
    [];
  const gone = tracked.filter((path) => !after.has(path));
  console.log(
    `This makes it ${choices.name}: ${after.size} files stay or are written, ` +
      `${gone.length} go, in one commit.`,
  );
  if (!agreed && !await agrees("Go on?")) {
    console.log("Nothing was changed.");
    return 1;
  }
  writeProject(root, after, gone);
  if (commits && !commitAll(root, choices.name)) {
    throw new Problem(
      "git would not commit; the changes are in the work tree.",
    );
  }
  tell(choices, undefined);
  return 0;
}

/** @param {string} folder @param {string} target */
function refuseTarget(folder, target) {
  let is;
  try {
    is = lstatSync(target, { throwIfNoEntry: false });
  } catch {
    // Making it will tell why.
  }
  if (!is) return;
  if (is.isSymbolicLink()) {
    throw new Problem(`${folder} is a symbolic link; name the folder itself.`);
  }
  if (!is.isDirectory()) throw new Problem(`${folder} is a file.`);
  if (readdirSync(target).length > 0) {
    throw new Problem(`${folder} is not empty; choose a new folder.`);
  }
}

function needGit() {
  if (git(".", "--version") === undefined) {
    throw new Problem("There is no git on this machine; add --no-git.");
  }
}

/** @param {string} folder @param {string} target */
function scratchBeside(folder, target) {
  try {
    return mkdtempSync(join(dirname(target), ".lastcall-"));
  } catch (error) {
    throw new Problem(
      `${folder} cannot be made: ${/** @type {Error} */ (error).message}.`,
    );
  }
}

/** All at once, or not at all. @param {string} from @param {string} to */
function move(from, to) {
  if (existsSync(to)) {
    // Whoever stands in it would stand nowhere.
    if (to === process.cwd()) {
      for (const name of readdirSync(from)) {
        renameSync(join(from, name), join(to, name));
      }
      return;
    }
    rmdirSync(to);
  }
  renameSync(from, to);
}

/** @param {Choices} choices @param {string | undefined} folder */
function tell({ name, runtimes }, folder) {
  const steps = runtimes.includes("node")
    ? ["npm install", "npm test", "npm start"]
    : runtimes.includes("bun")
    ? ["bun install", "bun run test", "bun run start"]
    : ["deno task test", "deno task start"];
  console.log(`${name} is there. Next:\n`);
  const into = folder && resolve(folder) !== process.cwd()
    ? [`cd ${/^[\w./-]+$/.test(folder) ? folder : JSON.stringify(folder)}`]
    : [];
  for (const line of [...into, ...steps]) console.log(`  ${line}`);
}
