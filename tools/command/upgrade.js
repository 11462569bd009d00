// `lastcall upgrade`: a newer engine in a project. The command of the project only
// fetches the newer one, which knows what is new and does the rest.

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { flagsOf, RUNTIMES } from "./choices.js";
import { readProject, whatGitLacks, writeProject } from "./files.js";
import { ownText } from "./pack.js";
import { Problem } from "./problem.js";
import { edited } from "./packages.js";
import { COMMAND, projectOf } from "./project.js";
import { engineVersion, STAMP, stampOf, withStamp } from "./stamp.js";
import { fileIn } from "./tar.js";
import { ownTemplate, templateIn } from "./template.js";

/** @import { Files } from "./files.js" */
/** @import { Choices, Stamp } from "./stamp.js" */

export const HELP = `Brings a newer engine into this project.

  lastcall upgrade            the newest, from npm
  --to VERSION                this one, from npm
  --from PATH                 from a tarball of the package, or its folder
  --merge                     where an engine file was edited, merge it, with
                              markers where both changed the same lines
  --check                     say only whether there is a newer one: exit code 1
                              if there is

The work tree has to be clean: git brings everything back.
`;

/** Whose files are replaced. */
const ENGINE = /^(lastcall|runtimes)\//;
const LOCK = { deno: "deno.lock", bun: "bun.lock", node: "package-lock.json" };
const LOCKS = Object.values(LOCK);
const PATCH = "lastcall-upgrade.patch";

/** @param {string} root @param {string[]} args */
export async function upgrade(root, args) {
  const { values } = parseArgs({
    args,
    options: {
      to: { type: "string" },
      from: { type: "string" },
      merge: { type: "boolean" },
      check: { type: "boolean" },
      // Said by the older command to the newer one: where the older one is.
      over: { type: "string" },
    },
  });
  const mine = readProject(root);
  const version = engineVersion(mine);
  if (version === undefined) {
    throw new Problem(
      "This is no project of lastcall: there is no lastcall/engine.json here.",
    );
  }
  if (values.over !== undefined) {
    return await apply(root, mine, values.over, values.merge ?? false);
  }
  if (values.check) {
    const newest = values.from
      ? engineVersion(templateIn(commandFrom(values.from))) ?? ""
      : await newestVersion();
    const isNewer = compare(newest, version) > 0;
    console.log(
      isNewer
        ? `There is ${newest}; this project has ${version}.`
        : `This project has ${version}; there is nothing newer.`,
    );
    return isNewer ? 1 : 0;
  }
  refuseUnsaved(root);
  const scratch = mkdtempSync(join(tmpdir(), "lastcall-upgrade-"));
  try {
    const newer = join(scratch, "newer.mjs");
    writeFileSync(
      newer,
      values.from
        ? commandFrom(values.from)
        : await commandOf(values.to ?? await newestVersion()),
    );
    // A clone has no command of its own in one file; its release has.
    let older = resolve(root, COMMAND);
    if (!existsSync(older)) {
      older = join(scratch, "older.mjs");
      writeFileSync(older, await commandOf(version));
    }
    const rest = values.merge ? ["--merge"] : [];
    return run(root, newer, ["upgrade", `--over=${older}`, ...rest]);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * In the newer command. Three versions of each file meet: as the older one made
 * it, as it is in the project, as the newer one makes it.
 *
 * @param {string} root
 * @param {Files} mine
 * @param {string} older the older command
 * @param {boolean} merges
 */
async function apply(root, mine, older, merges) {
  const template = ownTemplate();
  const from = engineVersion(mine) ?? "", to = engineVersion(template) ?? "";
  const choices = stampOf(mine) ?? choicesOf(mine);
  const scratch = mkdtempSync(join(tmpdir(), "lastcall-upgrade-"));
  try {
    if (compare(to, from) < 0) {
      throw new Problem(
        `That is ${to}, and this project has ${from}: there is no way back but git's.`,
      );
    }
    // Each template is made a project by the command that it came with.
    const flags = [
      "create",
      join(scratch, "a"),
      "--no-git",
      ...flagsOf(choices),
    ];
    if (run(scratch, older, flags, "ignore") !== 0) {
      throw new Problem(`The command of ${from} does not work any more.`);
    }
    const base = readProject(join(scratch, "a"));
    const next = projectOf(template, choices, await ownText());

    console.log(`The engine: ${from} -> ${to}\n`);
    console.log(changesBetween(next, from, to));
    /** @type {Files} */
    const written = new Map();
    const gone = [], touched = [], conflicts = [];
    for (const path of new Set([...base.keys(), ...next.keys()])) {
      if (!ENGINE.test(path) || path === STAMP) continue;
      const [was, is, willBe] = [base, mine, next].map((files) =>
        files.get(path)
      );
      if (is === willBe) continue;
      if (is === was) {
        if (willBe === undefined) gone.push(path);
        else written.set(path, willBe);
      } else if (was !== willBe) {
        touched.push(path);
        if (!merges) continue;
        const merged = mergedOf(scratch, is ?? "", was ?? "", willBe ?? "");
        written.set(path, merged.text);
        if (merged.hasConflict) conflicts.push(path);
      }
    }
    if (touched.length > 0 && !merges) {
      for (const path of touched) {
        console.log(difference(scratch, path, base.get(path), mine.get(path)));
      }
      throw new Problem(
        `Edited in this project, and changed since: ${
          touched.join(", ")
        }. Nothing ` +
          "was written. Take your change back (above is what it is), or add --merge.",
      );
    }
    const isNew = written.size + gone.length > 0 || from !== to;
    if (!isNew) {
      console.log("This project has it all already.");
      return 0;
    }
    written.set(COMMAND, await ownText());
    if (stampOf(mine)) {
      written.set(STAMP, withStamp({ ...choices, version: to }));
    }
    const pinned = withPins(mine, next);
    const hasMoved = pinned !== mine.get("package.json");
    if (hasMoved) {
      written.set("package.json", pinned);
      console.log("package.json has the versions that the engine pins.");
    }
    writeProject(root, written, gone);
    console.log(`${written.size} files are new, ${gone.length} are gone.`);
    // What was moved just now is no news.
    base.set("package.json", withPins(base, next));
    const patch = patchOf(scratch, base, next);
    if (patch.files.length > 0) {
      writeFileSync(join(root, PATCH), patch.text);
      console.log(
        `\nChanged upstream since, and yours to take or leave:\n\n  ` +
          `${patch.files.join("\n  ")}\n\n  git apply --3way ${PATCH}`,
      );
    }
    if (conflicts.length > 0) {
      throw new Problem(
        `\nBoth changed the same lines; look for <<<<<<< in ${
          conflicts.join(", ")
        }.` +
          `\n${wayBack}`,
      );
    }
    const isFine = settle(root, choices, hasMoved);
    console.log(`\n${wayBack}`);
    return isFine ? 0 : 1;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const RESTORE = "git restore . && git clean -fd lastcall runtimes tools";
const wayBack = `All of it can be taken back: ${RESTORE}`;

/** @param {string} root */
function refuseUnsaved(root) {
  const unsaved = whatGitLacks(root);
  if (!unsaved) return;
  throw new Problem(
    `${unsaved}; commit or stash first, so that git can bring everything back. If ` +
      `an upgrade was interrupted: ${RESTORE}`,
  );
}

/** A project without a stamp, as it looks. @param {Files} files @returns {Choices} */
function choicesOf(files) {
  const { name } = JSON.parse(files.get("package.json") ?? "{}");
  const has = (/** @type {string} */ path) => files.has(path);
  const deploy = {
    containerfile: has("deploy/alive.js"),
    compose: has("deploy/compose.yaml"),
    kubernetes: has("deploy/kubernetes.yaml"),
    systemd: [...files.keys()].some((path) => path.endsWith("@.service")),
    haproxy: has("deploy/haproxy.cfg"),
    nginx: has("deploy/nginx.conf"),
    github: has(".github/workflows/ci.yml"),
  };
  return {
    name: name === "lastcall" ? "my-service" : name,
    runtimes: RUNTIMES.filter((runtime) => has(LOCK[runtime])),
    example: has("src/bookmarks/mod.ts"),
    deploy: Object.entries(deploy).flatMap(([way, is]) => is ? [way] : []),
  };
}

/** The changelog's chapters of later versions. @param {Files} files @param {string} from @param {string} to */
function changesBetween(files, from, to) {
  const [, ...chapters] = (files.get("lastcall/CHANGELOG.md") ?? "")
    .split(/^## /m);
  const later = chapters.filter((chapter) => {
    const version = chapter.split("\n", 1)[0]?.trim() ?? "";
    return compare(version, from) > 0 && compare(version, to) <= 0;
  });
  return later.map((chapter) => `## ${chapter.trim()}\n`).join("\n");
}

/**
 * package.json with the versions that the engine of `next` needs.
 *
 * @param {Files} files @param {Files} next
 */
function withPins(files, next) {
  const text = files.get("package.json") ?? "{}";
  const { pins } = JSON.parse(next.get("lastcall/engine.json") ?? "{}");
  return edited(text, ({ dependencies }) => {
    Object.assign(dependencies, pins);
  });
}

/** @param {string} scratch @param {string} mine @param {string} was @param {string} next */
function mergedOf(scratch, mine, was, next) {
  const files = Object.entries({ yours: mine, before: was, upstream: next });
  for (const [name, text] of files) writeFileSync(join(scratch, name), text);
  const names = files.map(([name]) => name);
  const { stdout, status } = spawnSync(
    "git",
    ["merge-file", "-p", "--diff3", ...names],
    { cwd: scratch, encoding: "utf8", maxBuffer: 1e9 },
  );
  return { text: stdout, hasConflict: status !== 0 };
}

/** @param {string} scratch @param {string} path @param {string} [was] @param {string} [is] */
function difference(scratch, path, was = "", is = "") {
  writeProject(scratch, new Map([[`was/${path}`, was], [`is/${path}`, is]]));
  return diff(scratch, "was", "is", path);
}

/** @param {string} cwd @param {string} a @param {string} b @param {string} [path] */
function diff(cwd, a, b, path) {
  const { stdout } = spawnSync(
    "git",
    [
      "-c",
      "core.autocrlf=false",
      "diff",
      "--no-index",
      "--no-prefix",
      "--full-index",
      path ? `${a}/${path}` : a,
      path ? `${b}/${path}` : b,
    ],
    { cwd, encoding: "utf8", maxBuffer: 1e9 },
  );
  return stdout;
}

/**
 * What is not the engine's and has changed upstream. The locks follow from
 * package.json.
 *
 * @param {string} scratch @param {Files} base @param {Files} next
 */
function patchOf(scratch, base, next) {
  const isTheirs = (/** @type {string} */ path) =>
    !ENGINE.test(path) && path !== COMMAND && !LOCKS.includes(path);
  const files = [...new Set([...base.keys(), ...next.keys()])]
    .filter((path) => isTheirs(path) && base.get(path) !== next.get(path))
    .sort();
  for (const name of ["a", "b"]) {
    rmSync(join(scratch, name), { recursive: true, force: true });
    const side = name === "a" ? base : next;
    writeProject(
      join(scratch, name),
      new Map([...side].filter(([path]) => files.includes(path))),
    );
  }
  return { files, text: files.length > 0 ? diff(scratch, "a", "b") : "" };
}

/**
 * The locks, where a pin has moved, then check and test.
 *
 * @param {string} root @param {Choices} choices @param {boolean} hasMoved
 */
function settle(root, { runtimes }, hasMoved) {
  const { versions } = process;
  const [file, ...before] = versions["deno"]
    ? [process.execPath, "task"]
    : versions["bun"]
    ? [process.execPath, "run"]
    : ["npm", "run"];
  const isHere = versions["deno"]
    ? runtimes.includes("deno")
    : existsSync(join(root, "node_modules"));
  if (!isHere) {
    console.log("\nInstall, then run check and test.");
    return true;
  }
  const steps = [...hasMoved ? ["deps"] : [], "check", "test"];
  for (const step of steps) {
    console.log(`\n# ${step}`);
    const { status } = spawnSync(file ?? "npm", [...before, step], {
      cwd: root,
      stdio: "inherit",
      shell: process.platform === "win32",
    });
    if (status !== 0) {
      console.log(`\n${step} has found something: see above.`);
      return false;
    }
  }
  return true;
}

/** Its exit code. @param {string} cwd @param {string} command @param {string[]} args @param {"inherit" | "ignore"} [stdout] */
function run(cwd, command, args, stdout = "inherit") {
  const rights = process.versions["deno"]
    ? ["run", "--allow-all", "--no-lock"]
    : [];
  const { status } = spawnSync(
    process.execPath,
    [...rights, command, ...args],
    {
      cwd,
      stdio: ["inherit", stdout, "inherit"],
    },
  );
  return status ?? 1;
}

/** @param {string} path */
function commandFrom(path) {
  try {
    if (statSync(path).isDirectory()) {
      return readFileSync(join(path, "lastcall.js"), "utf8");
    }
    const text = fileIn(readFileSync(path), "lastcall.js");
    if (text !== undefined) return text;
  } catch (error) {
    throw new Problem(
      `${path} cannot be read: ${
        /** @type {Error} */ (error).message
      }. Expected ` +
        "a tarball of the package lastcall, or its folder.",
    );
  }
  throw new Problem(`${path} has no lastcall.js; is it the package lastcall?`);
}

/** @param {string} version */
async function commandOf(version) {
  const { dist } = await registry(version);
  const response = await fetch(dist.tarball);
  const text = fileIn(
    new Uint8Array(await response.arrayBuffer()),
    "lastcall.js",
  );
  if (text === undefined) {
    throw new Problem(`lastcall@${version} has no command.`);
  }
  return text;
}

async function newestVersion() {
  return String((await registry("latest")).version);
}

/** @param {string} version @returns {Promise<any>} */
async function registry(version) {
  const from = process.env["npm_config_registry"] ??
    "https://registry.npmjs.org/";
  const url = new URL(`lastcall/${encodeURIComponent(version)}`, from);
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw new Problem(
      `${url.host} cannot be reached; --from takes a tarball or a folder.`,
    );
  }
  if (!response.ok) {
    throw new Problem(
      `${url.host} has no lastcall@${version}: ${response.status}.`,
    );
  }
  return await response.json();
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}
