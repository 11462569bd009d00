// Where Deno, Bun and Node come from: this is where their versions are pinned.

import { execFileSync } from "node:child_process";
import { mkdirSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { which } from "./which.js";

/**
 * What is fetched where the machine has none, and the oldest of its own that is
 * taken instead.
 *
 * @satisfies {Record<string, { command: string, pinned: string, atLeast: string, below?: string }>}
 */
const WANTED = {
  deno: { command: "deno", pinned: "2.9.6", atLeast: "2.9.6" },
  bun: { command: "bun", pinned: "1.4.4", atLeast: "1.4.4" },
  node20: {
    command: "node",
    pinned: "20.20.2",
    atLeast: "20.0.0",
    below: "21.0.0",
  },
  node24: {
    command: "node",
    pinned: "24.21.0",
    atLeast: "24.0.0",
    below: "25.0.0",
  },
};

/** @typedef {keyof typeof WANTED | "node"} RuntimeKey the Node at hand */

/**
 * @typedef {object} FoundRuntime
 * @property {RuntimeKey} key
 * @property {"deno" | "bun" | "node"} name
 * @property {string} label `Deno 2.9.6`, `Node 24`
 * @property {string} column the heading in the matrix: `Deno`, `Node 24`
 * @property {string} path the binary itself, no wrapper
 */

export const RUNTIMES = /** @type {Exclude<RuntimeKey, "node">[]} */ (
  Object.keys(WANTED)
);

/** The runtime that runs this very file. */
export const HERE = process.versions["bun"]
  ? "bun"
  : process.versions["deno"]
  ? "deno"
  : "node";

/** The Node at hand, where it is none of those. @returns {RuntimeKey[]} */
export function otherNode() {
  const { node } = process.versions;
  return RUNTIMES.some((key) =>
      WANTED[key].command === "node" && isWanted(key, node)
    )
    ? []
    : ["node"];
}

/**
 * The machine's own where it will do, else the pinned one through npx. Throws
 * where it cannot be had.
 *
 * @param {RuntimeKey} key
 * @returns {FoundRuntime}
 */
export function findRuntime(key) {
  if (key === "node") return described(key, "node", process.execPath);
  const { command, pinned } = WANTED[key];
  const name = /** @type {FoundRuntime["name"]} */ (command);
  const own = command === HERE ? process.execPath : which(command);
  const ownVersion = own ? versionOf(own) : undefined;

  return own && ownVersion && isWanted(key, ownVersion)
    ? described(key, name, own)
    : described(key, name, fetchRuntime(command, pinned));
}

/**
 * @param {RuntimeKey} key
 * @param {FoundRuntime["name"]} name
 * @param {string} path
 * @returns {FoundRuntime}
 */
function described(key, name, path) {
  const version = versionOf(path);
  if (version === undefined) throw new Error(`${path} does not run`);
  // The npm package's link to Deno would do, but for `deno task`, which takes
  // an ELF file in a node_modules/.bin for JavaScript: hence the real path.
  path = realpathSync(path);
  const title = name.charAt(0).toUpperCase() + name.slice(1);
  const column = name === "node" ? `${title} ${parseInt(version)}` : title;
  const label = name === "node" ? column : `${title} ${version}`;
  return { key, name, label, column, path };
}

/** @param {string} path @returns {string | undefined} */
function versionOf(path) {
  try {
    return output(path, ["--version"]).match(/\d+\.\d+\.\d+/)?.[0];
  } catch {
    return undefined;
  }
}

/** @param {string} command @param {string} version */
function fetchRuntime(command, version) {
  // From an empty folder, so that npx looks at no package.json; and without
  // our caller's npm_* settings, which would point it back here.
  const cwd = join(tmpdir(), "lastcall-npx");
  mkdirSync(cwd, { recursive: true });
  const wanted = `${command}@${version}`;
  // Not on stdout, where a caller reads the path.
  console.error(`${wanted} comes from npm, unless npx has it already.`);
  const args = ["--yes", "-p", wanted, "-c"];
  return output("npx", [...args, `command -v ${command}`], cwd);
}

/** @param {string} file @param {string[]} args @param {string} [cwd] */
function output(file, args, cwd) {
  const stdio = /** @type {["ignore", "pipe", "pipe"]} */ (
    ["ignore", "pipe", "pipe"]
  );
  const env = cleanEnv();
  const text = execFileSync(file, args, { cwd, env, stdio, encoding: "utf8" });
  return text.trim();
}

/** The environment without what npm, Bun and Deno tell their scripts. */
export function cleanEnv() {
  /** @type {Record<string, string | undefined>} */
  const env = { ...process.env };
  for (const name of Object.keys(env)) {
    const mine = /^npm_(lifecycle|package|command|execpath|node_execpath)/;
    if (mine.test(name)) delete env[name];
  }
  for (const name of ["npm_config_user_agent", "npm_config_local_prefix"]) {
    delete env[name];
  }
  return env;
}

/** @param {keyof typeof WANTED} key @param {string} version */
function isWanted(key, version) {
  /** @type {{ atLeast: string, below?: string }} */
  const { atLeast, below } = WANTED[key];
  return compare(version, atLeast) >= 0 &&
    (below === undefined || compare(version, below) < 0);
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}

// `node scripts/runtimes.js deno` says where Deno is, for scripts.
if (import.meta.main ?? process.argv[1] === import.meta.filename) {
  const key = /** @type {RuntimeKey} */ (process.argv[2]);
  console.log(findRuntime(key).path);
}
