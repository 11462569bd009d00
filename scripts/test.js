// The tests of this project, on the runtime at hand: `npm test`, `bun run test`,
// `deno task test`.

import { spawn } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

const HELP = `The tests of src/ and the engine's unit tests.

  npm test                        all of them; or bun run test, deno task test
  npm test -- orders              the files whose path contains the word
  npm test -- --filter "says hi"  the tests whose name contains the words
`;

const root = join(import.meta.dirname, "..");

/** @type {{ filter?: string, help?: boolean }} */
let options;
/** @type {string[]} */
let words;
try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { filter: { type: "string" }, help: { type: "boolean" } },
  });
  [options, words] = [values, positionals];
} catch (error) {
  console.error(/** @type {Error} */ (error).message);
  process.exit(2);
}
if (options.help) {
  console.log(HELP);
  process.exit(0);
}

const files = ["tests", "lastcall/tests"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
).filter((file) => file.endsWith("_test.ts") && !/node_modules/.test(file))
  .filter((file) => words.length === 0 || words.some((w) => file.includes(w)))
  .sort();
if (files.length === 0) {
  console.error(`No test file's path contains ${words.join(" or ")}.`);
  process.exit(1);
}

const [file, ...args] = await command();
const runner = spawn(file, args, { cwd: root, stdio: "inherit" });
// A Ctrl-C reaches the runner by itself; what it has started ends with it.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => runner.kill("SIGTERM"));
runner.on("exit", (code) => process.exit(code ?? 1));

/** @returns {Promise<[string, ...string[]]>} */
async function command() {
  const { filter } = options;
  const pattern = filter?.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const { execPath, versions } = process;
  if (versions["deno"]) {
    const kinds = ["env", "read", "write", "net", "run", "sys"];
    const rights = kinds.map((kind) => `--allow-${kind}`);
    const only = filter ? [`--filter=${filter}`] : [];
    // `check` has looked at the types.
    return [execPath, "test", "--no-check", ...rights, ...only, ...files];
  }
  if (versions["bun"]) {
    const only = pattern ? [`--test-name-pattern=${pattern}`] : [];
    const paths = files.map((path) => `./${path}`);
    return [execPath, "test", "--timeout=30000", ...only, ...paths];
  }
  const only = pattern ? [`--test-name-pattern=${pattern}`] : [];
  const flags = ["--enable-source-maps", "--test", "--test-reporter=spec"];
  return [execPath, ...flags, ...only, ...await bundled()];
}

/** Node 20 reads no TypeScript. */
async function bundled() {
  const { build, forNode } = await import("./bundle.js");
  const outdir = join(root, "node_modules/.cache/lastcall-tests");
  rmSync(outdir, { recursive: true, force: true });
  const isBuilt = build({
    ...forNode,
    entryPoints: files,
    outbase: root,
    outdir,
    outExtension: { ".js": ".mjs" },
    external: ["esbuild", "typescript", "yaml"],
    sourcemap: "inline",
  });
  if (!isBuilt) process.exit(1);
  return files.map((file) => join(outdir, file.replace(/\.ts$/, ".mjs")));
}
