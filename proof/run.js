// The proof: `npm run proof` on every runtime, `deno task proof` and
// `bun run proof` on their own; --help tells the rest.
//
// What starts no servers runs inside the runtime. The drivers in proof/contract,
// proof/app, proof/hostile and proof/deploy start servers as processes; Node's
// drivers always run on the machine's own Node, and LASTCALL_SERVER_NODE names
// the Node that their servers run on. All run with the root of the repository as
// the current folder. A driver is told:
//
//   LASTCALL_RUNTIME      deno, bun or node
//   LASTCALL_LABEL        "Deno 2.9.6", "Node 24": its column of the matrix
//   LASTCALL_MATRIX_DIR   where each of its files writes `<label> <id>.json`: a
//                         list of { clause, title, ok, skipped, note? }
//   TEST_DATABASE_URL     a Postgres where it may create databases

import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { startPostgres } from "../tests/postgres.js";
import { matrixOf, renderMatrix, replaceMatrix } from "./matrix.js";
import {
  cleanEnv,
  findRuntime,
  HERE,
  otherNode,
  RUNTIMES,
} from "../scripts/runtimes.js";

/** @import { FoundRuntime, RuntimeKey } from "../scripts/runtimes.js" */
/** @import { ClauseResult } from "./matrix.js" */

const root = join(import.meta.dirname, "..");

/**
 * In this order; those of as many lanes share them. Most tests only wait,
 * and three can share the machine; where a runtime's files are in two parts, no
 * lane is left with a long one at the end. A run that hangs is a failure, not a
 * reason to wait for CI's own limit.
 */
const KINDS = {
  contract: { folders: ["proof/contract"], parts: 2, lanes: 3, minutes: 25 },
  // A feature's tests lie in a folder of its own in tests/, and in one of the
  // same name in proof/.
  feature: { folders: featureFolders(), lanes: 3, minutes: 8 },
  app: { folders: ["proof/app"], lanes: 3, minutes: 8 },
  command: { folders: ["proof/command"], lanes: 3, minutes: 10 },
  deploy: { folders: ["proof/deploy"], lanes: 3, minutes: 5 },
  unit: {
    folders: ["tests", "lastcall/tests", "tools/tests", "proof/unit"],
    lanes: 3,
    minutes: 5,
  },
  // How long one client keeps others waiting: with less beside it.
  waits: { folders: ["proof/contract/waits"], lanes: 2, minutes: 10 },
  hostile: { folders: ["proof/hostile"], lanes: 2, minutes: 60 },
  soak: { folders: ["proof/soak"], lanes: 2, minutes: 60 },
};

/** @typedef {keyof typeof KINDS} Kind */

/** Whether these tests only start servers, and need not run where those do. */
const drives = (/** @type {Kind} */ kind) =>
  ["contract", "waits", "soak", "app", "command", "hostile", "deploy"].includes(
    kind,
  );

const bundles = join(root, "node_modules", ".cache", "lastcall-proof");
const contract = join(root, "lastcall/CONTRACT.md");
/** Of what a failed test says. */
const MOST_LINES = 15;
const inCI = process.env["CI"] === "true";

const HELP = `Everything that the engine owes, as CI runs it.

  npm run proof                          a quarter of an hour
  npm run proof -- drain hostile         test files whose path contains a word
  --only deno|bun|node20|node24|node     one runtime; may be repeated; node is the
                                         one at hand, where it is none of the others
  --filter <text>                        tests whose name contains it
  --update-matrix                        write the matrix into lastcall/CONTRACT.md
`;

const { options, positionals } = readArgs();

function readArgs() {
  try {
    const { values: options, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        only: { type: "string", multiple: true },
        filter: { type: "string" },
        help: { type: "boolean", default: false },
        "update-matrix": { type: "boolean", default: false },
      },
    });
    return { options, positionals };
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    process.exit(2);
  }
}

/**
 * One runner of one runtime, over some of the test files.
 *
 * @typedef {object} Job
 * @property {string} name
 * @property {FoundRuntime} runtime
 * @property {string[]} files
 * @property {Kind} kind
 */

/**
 * @typedef {object} Outcome
 * @property {Job} job
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped
 * @property {number} seconds
 * @property {ClauseResult[]} clauses
 * @property {Failure[]} failures
 */

/** @typedef {{ name: string, why: string }} Failure */

/** The runners that go on, each the first of a group of its own. @type {Set<number>} */
const running = new Set();

// What was started ends with the proof: the database, in a group with us, by itself.
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.once(signal, () => {
    for (const pid of running) process.kill(-pid, "SIGKILL");
    process.exit(1);
  });
}

process.exitCode = await main();

async function main() {
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const wanted = wantedRuntimes();
  if (!wanted) return 2;

  const kinds = /** @type {Kind[]} */ (Object.keys(KINDS));
  const files = Object.fromEntries(
    kinds.map((kind) => [kind, KINDS[kind].folders.flatMap(testFiles)]),
  );
  if (HERE === "node") await bundle(Object.values(files).flat());

  let passed = 0, failed = 0, skipped = 0;
  /** @type {FoundRuntime[]} */
  const found = [];
  for (const key of wanted) {
    try {
      found.push(findRuntime(key));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      console.log(`${inCI ? "FAILED" : "SKIPPED"}: no ${key}: ${why}`);
      if (inCI) failed++;
      else skipped++;
    }
  }

  const deno = found.find(({ name }) => name === "deno");
  if (deno) fetchFor(deno, Object.values(files).flat());

  const database = files["feature"]?.length ? await startPostgres() : undefined;
  /** @type {Outcome[]} */
  const outcomes = [];
  const jobs = kinds.flatMap((kind) => {
    const { parts: count = 1 } =
      /** @type {{ parts?: number }} */ (KINDS[kind]);
    const parts = partsOf(files[kind] ?? [], count);
    return found.flatMap((runtime) =>
      parts.map((files, i) => {
        const part = parts.length > 1 ? ` (${i + 1} of ${parts.length})` : "";
        const name = `${kind} on ${runtime.label}${part}`;
        return { name, runtime, files, kind };
      })
    );
  });
  for (const lanes of new Set(kinds.map((kind) => KINDS[kind].lanes))) {
    const mine = jobs.filter(({ kind }) => KINDS[kind].lanes === lanes);
    outcomes.push(...await inLanes(lanes, mine));
  }
  await database?.stop();

  for (const outcome of outcomes) {
    passed += outcome.passed;
    failed += outcome.failed;
    skipped += outcome.skipped;
  }
  const whole = !options.only && !options.filter && positionals.length === 0 &&
    RUNTIMES.every((key) => found.some((runtime) => runtime.key === key));
  if (!settleMatrix(outcomes, whole)) failed++;

  for (const { job, failures } of outcomes) {
    for (const { name, why } of failures) {
      console.log(`\nFAILED on ${job.name}: ${name}\n${why}`);
    }
  }
  console.log("");
  // At the end, for logs are long, and what shows them may keep only that.
  for (const { job, seconds, failures, ...counts } of outcomes) {
    console.log(`${job.name}: ${countsLine(counts)} (${seconds} s)`);
    for (const { name } of failures) console.log(`  FAILED: ${name}`);
  }
  if (passed + failed === 0) {
    console.log("FAILED: not one test ran");
    failed++;
  }
  console.log(`\n${countsLine({ passed, failed, skipped })}`);
  return failed > 0 ? 1 : 0;
}

/** @param {string[]} files @param {number} count none of them empty */
function partsOf(files, count) {
  return Array.from(
    { length: count },
    (_, part) => files.filter((_, i) => i % count === part),
  ).filter((files) => files.length > 0);
}

/** @param {{ passed: number, failed: number, skipped: number }} counts */
function countsLine({ passed, failed, skipped }) {
  const tail = skipped > 0 ? `, ${skipped} skipped` : "";
  return `${passed} passed, ${failed} failed${tail}`;
}

/** @returns {RuntimeKey[] | undefined} */
function wantedRuntimes() {
  /** @type {RuntimeKey[]} */
  const mine = HERE === "node" ? [...RUNTIMES, ...otherNode()] : [HERE];
  for (const only of options.only ?? []) {
    if (mine.some((key) => key === only)) continue;
    console.error(`--only is "${only}"; expected one of ${mine.join(", ")}.`);
    return undefined;
  }
  return mine.filter((key) => !options.only || options.only.includes(key));
}

function featureFolders() {
  return readdirSync(join(root, "tests"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "std-assert")
    .flatMap(({ name }) => [`tests/${name}`, `proof/${name}`]);
}

/** The test files right in this folder. @param {string} folder */
function testFiles(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith("_test.ts"))
    .map((name) => `${folder}/${name}`)
    .filter((file) =>
      positionals.length === 0 ||
      positionals.some((part) => file.includes(part))
    )
    .sort();
}

/**
 * Otherwise Deno says on stderr of the first server that it downloads packages,
 * and a test takes that for trouble.
 *
 * @param {FoundRuntime} deno @param {string[]} files
 */
function fetchFor({ path }, files) {
  const frozen = inCI ? ["--frozen"] : [];
  spawnSync(path, ["cache", "--quiet", ...frozen, "src/main.ts", ...files], {
    cwd: root,
    env: cleanEnv(),
    stdio: "inherit",
  });
}

/** Node 20 reads no TypeScript. @param {string[]} files */
async function bundle(files) {
  rmSync(bundles, { recursive: true, force: true });
  mkdirSync(bundles, { recursive: true });
  // Deno has no esbuild, and needs none.
  const { build, forNode } = await import("../scripts/bundle.js");
  const isBuilt = build({
    ...forNode,
    entryPoints: files,
    outbase: root,
    outdir: bundles,
    outExtension: { ".js": ".mjs" },
    // They work as packages from node_modules, and esbuild as nothing else.
    external: ["esbuild", "typescript", "yaml"],
    sourcemap: "inline",
  });
  if (!isBuilt) throw new Error("the tests could not be built");
}

/**
 * Each job's output is printed whole, when it ends.
 *
 * @param {number} lanes
 * @param {Job[]} jobs
 */
async function inLanes(lanes, jobs) {
  /** @type {Outcome[]} */
  const outcomes = [];
  const queue = jobs.entries();
  const lane = async () => {
    for (const [index, job] of queue) outcomes[index] = await runJob(job);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return outcomes;
}

/** @param {Job} job @returns {Promise<Outcome>} */
async function runJob(job) {
  const { runtime, kind } = job;
  const scratch = mkdtempSync(join(tmpdir(), "lastcall-job-"));
  const junit = join(scratch, "junit.xml");
  const matrix = join(scratch, "matrix");
  mkdirSync(matrix);
  // So that `npm start` and `bun run start` find the runtime under test.
  const bin = join(scratch, "bin");
  mkdirSync(bin);
  symlinkSync(runtime.path, join(bin, runtime.name));

  const [file = "", ...args] = command(job, junit);
  const began = performance.now();
  const child = spawn(file, args, {
    cwd: root,
    env: {
      ...cleanEnv(),
      ...(process.stdout.isTTY ? {} : { NO_COLOR: "1" }),
      PATH: [bin, process.env["PATH"]].join(delimiter),
      LASTCALL_RUNTIME: runtime.name,
      LASTCALL_LABEL: runtime.label,
      LASTCALL_MATRIX_DIR: matrix,
      ...(runtime.name === "node"
        ? { LASTCALL_SERVER_NODE: runtime.path }
        : {}),
    },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // a group of its own, so that a hung one can be ended whole
  });
  const { pid } = child;
  if (pid) running.add(pid);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (text) => output += text);
  }

  const limit = KINDS[kind].minutes * 60_000;
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    if (pid) process.kill(-pid, "SIGKILL");
  }, limit);
  /** @type {number | null} */
  const code = await new Promise((resolve) => {
    child.on("error", (error) => output += `${error.message}\n`);
    child.on("close", resolve);
  });
  clearTimeout(timer);
  if (pid) running.delete(pid);

  const cases = existsSync(junit) ? testCases(readFileSync(junit, "utf8")) : [];
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { result } of cases) counts[result]++;
  const failures = cases.filter(({ result }) => result === "failed")
    .map(({ name, why }) => ({ name: plain(name), why }));
  const fail = (/** @type {string} */ name) => {
    failures.push({ name, why: output.trimEnd().split("\n").at(-1) ?? "" });
    counts.failed++;
  };
  if (hung) fail(`not done after ${limit / 1000} s`);
  else if (code !== 0 && counts.failed === 0) {
    fail(`the runner ended with ${code}, naming no failed test`);
  } else if (cases.length === 0 && !options.filter) fail("not one test ran");

  const clauses = readdirSync(matrix)
    .filter((name) => name.endsWith(".json"))
    .flatMap((name) => JSON.parse(readFileSync(join(matrix, name), "utf8")));
  rmSync(scratch, { recursive: true, force: true });

  console.log(`\n==== ${job.name}\n${output.trimEnd()}`);
  const seconds = Math.round((performance.now() - began) / 1000);
  return { job, ...counts, seconds, clauses, failures };
}

/** @param {Job} job @param {string} junit */
function command({ runtime, files, kind }, junit) {
  const { filter } = options;
  const pattern = filter?.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  switch (runtime.name) {
    case "deno":
      return [
        runtime.path,
        "test",
        "--no-check", // `check` has done that
        ...(inCI ? ["--frozen"] : []),
        // Tests start servers, talk to them, and keep notes of them.
        ...["env", "read", "write", "net", "run", "sys"].map((right) =>
          `--allow-${right}`
        ),
        `--junit-path=${junit}`,
        ...(filter ? [`--filter=${filter}`] : []),
        ...files,
      ];
    case "bun":
      return [
        runtime.path,
        "test",
        "--timeout=120000", // the other two have none; clauses take their time
        "--reporter=junit",
        `--reporter-outfile=${junit}`,
        ...(pattern ? [`--test-name-pattern=${pattern}`] : []),
        ...files.map((file) => `./${file}`),
      ];
    case "node":
      return [
        drives(kind) ? process.execPath : runtime.path,
        "--enable-source-maps",
        "--test",
        "--test-concurrency=1",
        "--test-reporter=spec",
        "--test-reporter-destination=stdout",
        "--test-reporter=junit",
        `--test-reporter-destination=${junit}`,
        ...(pattern ? [`--test-name-pattern=${pattern}`] : []),
        ...files.map((file) => join(bundles, file.replace(/\.ts$/, ".mjs"))),
      ];
  }
}

/**
 * The leaves of a JUnit file, which all three runners can write.
 *
 * @param {string} xml
 */
function testCases(xml) {
  const cases = [];
  // A case closes itself, or has a body that says how it went.
  const pattern =
    /<testcase\b((?:"[^"]*"|[^">])*?)(?:\/>|>([^]*?)<\/testcase>)/g;
  for (const [, attributes = "", body = ""] of xml.matchAll(pattern)) {
    const name = / name="([^"]*)"/.exec(` ${attributes}`)?.[1] ?? "";
    const result = /<(failure|error)\b/.test(body)
      ? /** @type {const} */ ("failed")
      : /<skipped\b/.test(body)
      ? /** @type {const} */ ("skipped")
      : /** @type {const} */ ("passed");
    const [, attribute = "", text = ""] =
      /<(?:failure|error)\b([^>]*?)(?:\/>|>([^]*?)<\/)/.exec(body) ?? [];
    const message = / message="([^"]*)"/.exec(attribute)?.[1] ?? "";
    const why = plain(text.trim() || message).split("\n")
      .slice(0, MOST_LINES).join("\n");
    cases.push({ name, result, why });
  }
  // Deno lists a suite beside its tests, "suite" beside "suite > test"; Node
  // counts a file without any test as one that passed.
  const suites = new Set();
  for (const { name } of cases) {
    const parts = name.split(" &gt; ");
    while (parts.pop() && parts.length) suites.add(parts.join(" &gt; "));
  }
  return cases.filter(({ name, result }) =>
    !suites.has(name) && !(result === "passed" && name.endsWith("_test.mjs"))
  );
}

/** XML's five signs, and characters by number. @param {string} text */
function plain(text) {
  const signs = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(
    /&(?:#(x?)([0-9a-f]+)|(lt|gt|quot|apos|amp));/gi,
    (_, hex, number, sign) =>
      sign
        ? signs[/** @type {keyof typeof signs} */ (sign)]
        : String.fromCodePoint(parseInt(number, hex ? 16 : 10)),
  );
}

/**
 * Prints the matrix, and keeps the one in the contract true.
 *
 * @param {Outcome[]} outcomes
 * @param {boolean} whole every test of every runtime has run
 */
function settleMatrix(outcomes, whole) {
  const parts = outcomes
    .filter(({ clauses }) => clauses.length > 0)
    // The machine's own Node has no column: which it is differs.
    .filter(({ job }) => job.runtime.key !== "node")
    .map(({ job, clauses }) => ({ title: job.runtime.column, clauses }));
  const titles = [...new Set(parts.map(({ title }) => title))];
  const columns = titles.map((title) => ({
    title,
    clauses: parts.flatMap((part) => part.title === title ? part.clauses : []),
  }));
  if (columns.length === 0) return true;
  const table = renderMatrix(matrixOf(columns));
  console.log(`\n==== the clauses, by runtime\n\n${table}`);
  if (!whole) return true;

  const text = existsSync(contract) ? readFileSync(contract, "utf8") : "";
  const updated = replaceMatrix(text, table);
  if (updated === text) return true;
  if (updated === undefined) {
    console.log(
      "FAILED: lastcall/CONTRACT.md has no <!-- matrix:begin --> and :end -->",
    );
  } else if (options["update-matrix"]) {
    writeFileSync(contract, updated);
    console.log("lastcall/CONTRACT.md has the new matrix.");
    return true;
  } else {
    console.log(
      `\n${
        inCI ? "FAILED" : "NOTE"
      }: lastcall/CONTRACT.md has another matrix; ` +
        "if this one is right, run `npm run proof -- --update-matrix`.\n",
    );
    // A longer cell makes its whole column wider.
    const rows = (/** @type {string} */ text) =>
      new Set(text.split("\n").map((line) => line.replace(/ +|--+/g, " ")));
    const [now, then] = [rows(updated), rows(text)];
    // Where none differs, their order does.
    for (const row of then) if (!now.has(row)) console.log("-", row);
    for (const row of now) if (!then.has(row)) console.log("+", row);
  }
  return !inCI;
}
