import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { answerHelp } from "./help.js";
import { cleanEnv, findRuntime } from "./runtimes.js";

answerHelp(`After a change of package.json: brings its lock files along.

  npm run deps    package-lock.json, bun.lock and deno.lock
`);

const root = join(import.meta.dirname, "..");

/** @param {string} file @param {string[]} args */
function run(file, args) {
  console.log(`\n# ${args.join(" ")}`);
  // npm is a script of the shell's on Windows.
  const shell = file === "npm" && process.platform === "win32";
  const env = cleanEnv();
  execFileSync(file, args, { cwd: root, env, shell, stdio: "inherit" });
}

// A project may have chosen fewer runtimes.
const has = (/** @type {string} */ lock) => existsSync(join(root, lock));
if (has("package-lock.json")) run("npm", ["install"]);
if (has("bun.lock")) {
  run(findRuntime("bun").path, ["install", "--lockfile-only"]);
}
if (has("deno.lock")) {
  run(findRuntime("deno").path, [
    "install",
    "--frozen=false",
    "--entrypoint",
    "src/main.ts",
  ]);
}
