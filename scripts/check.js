import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { answerHelp } from "./help.js";
import { cleanEnv, findRuntime, HERE } from "./runtimes.js";

answerHelp(`Formatting, lint, types, and whether every place has every variable.

  npm run check      all of it; or bun run check
  deno task check    what Deno can see: no node_modules, no tsc
`);

const root = join(import.meta.dirname, "..");
const inCI = process.env["CI"] === "true";
const frozen = inCI ? ["--frozen"] : [];

/** Everything that Deno runs. The other runtimes' files are checked by tsc. */
function denoSources() {
  const files = ["src/main.ts", "runtimes/deno.ts", "runtimes/runtime.ts"];
  // A project may have left some of these behind.
  const folders = ["lastcall", "tests", "tools/tests", "proof"]
    .filter((folder) => existsSync(join(root, folder)));
  const tests = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .map((file) => `${folder}/${file}`)
  );
  return [
    ...files,
    ...tests.filter((file) =>
      file.endsWith(".ts") && !file.includes("node_modules")
    ),
  ];
}

const TSC = "node_modules/typescript/bin/tsc";
let passed = 0, failed = 0, skipped = 0;

/** @param {string} name @param {string} file @param {string[]} args */
function step(name, file, args) {
  console.log(`\n# ${name}`);
  const { status, error } = spawnSync(file, args, {
    cwd: root,
    env: cleanEnv(),
    stdio: "inherit",
  });
  if (error) console.error(error.message);
  if (status === 0) passed++;
  else failed++;
}

/** @param {string} name @param {string} why */
function skip(name, why) {
  console.log(`\n# ${name}: ${inCI ? "FAILED" : "SKIPPED"}: ${why}`);
  if (inCI) failed++;
  else skipped++;
}

/** @type {string | undefined} */
let deno;
try {
  deno = findRuntime("deno").path;
} catch (error) {
  skip("format, lint and types on Deno", `Deno cannot be had: ${error}`);
}
if (deno) {
  step("format", deno, ["fmt", "--check"]);
  step("lint", deno, ["lint"]);
  // Where nothing is served by Deno, it formats and lints alone.
  if (existsSync(join(root, "deno.lock"))) {
    step("types, as Deno sees them", deno, [
      "check",
      ...frozen,
      ...denoSources(),
    ]);
  }
}

const seen = {
  Node: "tsconfig.json",
  Bun: "tsconfig.bun.json",
  Chromium: "tools/drill/page/tsconfig.json",
};
for (const [runtime, config] of Object.entries(seen)) {
  if (!existsSync(join(root, config))) continue;
  const name = `types, as ${runtime} sees them`;
  if (HERE === "deno") {
    console.log(`\n# ${name}: left to \`npm run check\``);
  } else if (!existsSync(join(root, TSC))) {
    skip(name, "there is no tsc; run `npm ci` or `bun install` first");
  } else step(name, process.execPath, [TSC, "-p", config]);
}

if (HERE === "deno" || existsSync(join(root, "node_modules"))) {
  step("every place has every variable", process.execPath, [
    ...HERE === "deno" ? ["task", "--quiet", "test"] : ["scripts/test.js"],
    "tests/config_test",
    "--filter",
    "every place has every variable",
  ]);
}

const tail = skipped ? `, ${skipped} skipped` : "";
console.log(`\n${passed} passed, ${failed} failed${tail}`);
process.exit(failed ? 1 : 0);
