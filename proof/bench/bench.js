import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { answerHelp } from "../../scripts/help.js";

/** @typedef {import("./contender.js").RuntimeName} RuntimeName */
/** @typedef {import("./report.js").Results} Results */

/** Endings take seconds each, and differ little. */
const WHOLE = { rounds: 12, warmUp: 2, starts: 20, endings: 5 };
/** Enough to see that all of it works, and for no conclusion. */
const QUICK = { rounds: 2, warmUp: 1, starts: 2, endings: 1 };

const root = join(import.meta.dirname, "../..");

answerHelp(
  `How fast lastcall serves, starts and ends beside the bare runtime and srvx.

  npm run bench            about half an hour; writes docs/performance.md
  --quick                  enough to see that all of it works; writes to dist/bench
  --only deno|bun|node     one runtime; writes to dist/bench
  --rounds 12              how often each is measured
  --duration 1             seconds of each
`,
);

process.exitCode = await main();

async function main() {
  if (process.platform !== "linux") {
    console.error(
      `This is ${process.platform}; the bench needs Linux, whose /proc tells ` +
        "it of memory and processor time. A container of it will do.",
    );
    return 1;
  }
  if (!installPeers()) return 1;
  // They import the peers.
  const { field, RUNTIMES } = await import("./contender.js");
  const options = readOptions(RUNTIMES);
  if (!options) return 2;
  const { throughput } = await import("./throughput.js");
  const { startUp } = await import("./start_up.js");
  const { endings } = await import("./ending.js");
  const { machine, markdown, verdict } = await import("./report.js");
  const { plot } = await import("./plot.js");

  /** @type {Results} */
  const results = { ...options, machine: machine(), fields: [] };
  for (const runtime of options.runtimes) {
    const contenders = await field(runtime);
    const { label } = contenders;
    /** @param {string} step */
    const progress = (step) => console.log(`${label}: ${step}`);
    progress("start-up");
    const starts = await startUp(contenders, options.starts);
    const routes = await throughput(contenders, options, progress);
    const ends = await endings(contenders, options.endings, progress);
    results.fields.push({ runtime, label, starts, routes, ...ends });
  }

  const folder = join(root, options.whole ? "docs" : "dist/bench");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "performance.md"), markdown(results));
  writeFileSync(join(folder, "performance.svg"), plot(results));
  console.log(`\n${verdict(results)}\n\nWritten to ${folder}.`);
  return 0;
}

/** @param {RuntimeName[]} known */
function readOptions(known) {
  const values = parse();
  if (!values) return undefined;
  const { quick, only = known } = values;
  const size = quick ? QUICK : WHOLE;
  const rounds = Number(values.rounds ?? size.rounds);
  const seconds = Number(values.duration ?? 1);
  for (const [name, value] of Object.entries({ rounds, duration: seconds })) {
    if (Number.isInteger(value) && value > 0) continue;
    console.error(
      `--${name} is "${values[/** @type {"rounds"} */ (name)]}"; ` +
        "expected a whole number above 0.",
    );
    return undefined;
  }
  const runtimes = known.filter((runtime) => only.includes(runtime));
  for (const name of only) {
    if (runtimes.some((runtime) => runtime === name)) continue;
    console.error(`--only is "${name}"; expected one of ${known.join(", ")}.`);
    return undefined;
  }
  return {
    ...size,
    rounds,
    seconds,
    runtimes,
    whole: !quick && runtimes.length === known.length,
  };
}

function parse() {
  try {
    return parseArgs({
      options: {
        rounds: { type: "string" },
        duration: { type: "string" },
        only: { type: "string", multiple: true },
        quick: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return undefined;
  }
}

/** Peers are nobody's dependency but the bench's, so the bench fetches them. */
function installPeers() {
  const cwd = join(import.meta.dirname, "peers");
  /** @param {string} file @returns {any} */
  const read = (file) => JSON.parse(readFileSync(join(cwd, file), "utf8"));
  const installed = Object.entries(read("package.json").dependencies).every(
    ([name, version]) => {
      const file = `node_modules/${name}/package.json`;
      return existsSync(join(cwd, file)) && read(file).version === version;
    },
  );
  if (installed) return true;
  try {
    console.log("npm ci, in proof/bench/peers");
    const args = ["ci", "--no-audit", "--no-fund"];
    execFileSync("npm", args, { cwd, stdio: "inherit" });
    return true;
  } catch {
    console.error("The peers could not be installed; npm has said why.");
    return false;
  }
}
