// The rolling-restart proof: real balancers with the shipped configurations, two
// servers of the template's own app, and a client that goes on while they are
// restarted one after the other. One failed request fails it.
//
// A server is told what deploy/compose.yaml tells it (its DRAIN_DELAY_MS, above
// all), so that the recipe proven here is the one shipped.

import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { answerHelp } from "../../scripts/help.js";
import { findRuntime } from "../../scripts/runtimes.js";
import { which } from "../../scripts/which.js";
import { startHaproxy, startNginx } from "./balancer.js";
import { Load } from "./load.js";
import { Program } from "./program.js";

/** @import { FoundRuntime, RuntimeKey } from "../../scripts/runtimes.js" */
/** @import { Failure, Request } from "./load.js" */

const root = join(import.meta.dirname, "../..");

/** What the clients ask for. @type {Request[]} */
const MIX = [
  { weight: 50, method: "GET", path: "/" },
  { weight: 20, method: "GET", path: "/slow?ms=50" },
  // A request with a body is the hard case: no balancer may send it twice. This
  // one is refused by the app itself, which is an answer like any other.
  {
    weight: 20,
    method: "POST",
    path: "/",
    body: "x".repeat(2000),
    expect: 405,
  },
  ...featureMix(),
];

/** Those of the features, see proof/support/features.ts. @returns {Request[]} */
function featureMix() {
  const proof = join(root, "proof");
  return readdirSync(proof).map((folder) => join(proof, folder, "asked.json"))
    .filter((file) => existsSync(file))
    .flatMap((file) => JSON.parse(readFileSync(file, "utf8")).mix);
}

const ROUNDS = {
  short: { restarts: 1, requests: 2_000, rate: 500 },
  long: { restarts: 10, requests: 50_000, rate: 700 },
};

/** The slowest hundredth of the requests took longer than a second. */
const TOO_BUSY = "This machine was too busy for so many requests a second.";

/** Linux has it from 5.14 on. */
const MIGRATE = "/proc/sys/net/ipv4/tcp_migrate_req";

const inCI = process.env["CI"] === "true";

answerHelp(`Restarts servers behind real balancers; one failed request fails it.

  npm run rolling                        each balancer with each runtime, short
  npm run rolling -- --long              at least 50,000 requests for each
  --balancer haproxy|nginx|none          one of them; may be repeated
  --only deno|bun|node20|node24          one of them; may be repeated
  --restarts 2 --requests 4000 --rate 500 --seed 1

With "none", each server is relieved by one that listens on the same port before
it leaves (REUSE_PORT). Kept connections must lose nothing. New ones may be reset
in the closing listener's accept queue unless the kernel hands them on, which it
does here:

  unshare --map-root-user --net sh -c 'ip link set lo up &&
    echo 1 >/proc/sys/net/ipv4/tcp_migrate_req &&
    exec npm run rolling -- --balancer none'
`);

const { values: options } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    balancer: { type: "string", multiple: true, default: ["haproxy", "nginx"] },
    only: {
      type: "string",
      multiple: true,
      default: ["deno", "bun", "node24"],
    },
    restarts: { type: "string" },
    requests: { type: "string" },
    rate: { type: "string" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const usual = options.long ? ROUNDS.long : ROUNDS.short;
const round = {
  restarts: Number(options.restarts ?? usual.restarts),
  requests: Number(options.requests ?? usual.requests),
  rate: Number(options.rate ?? usual.rate),
  seed: Number(options.seed),
};

process.exitCode = await main();

async function main() {
  console.log(
    `${round.restarts} rolling restarts under ${round.rate} requests/s, ` +
      `at least ${round.requests} of them; --seed ${round.seed}`,
  );
  let passed = 0, failed = 0, skipped = 0;
  for (const name of options.balancer) {
    if (name !== "none" && !which(name)) {
      console.log(`${inCI ? "FAILED" : "SKIPPED"}: ${name} is not installed`);
      if (inCI) failed++;
      else skipped++;
      continue;
    }
    for (const key of /** @type {RuntimeKey[]} */ (options.only)) {
      const runtime = findRuntime(key);
      let problems = await prove(name, runtime, round.rate);
      // Then the queues overflow, wherever they are, which proves nothing.
      if (problems.length > 0 && problems.includes(TOO_BUSY)) {
        console.log(`  ${TOO_BUSY} Again, with half of them:`);
        problems = await prove(name, runtime, round.rate / 2);
      }
      if (problems.length === 0) passed++;
      else failed++;
      for (const problem of problems) console.log(`  FAILED: ${problem}`);
    }
  }
  const tail = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`\n${passed} passed, ${failed} failed${tail}`);
  return failed > 0 ? 1 : 0;
}

/**
 * One balancer and one runtime. Returns what was wrong.
 *
 * @param {string} name
 * @param {FoundRuntime} runtime
 * @param {number} rate
 */
async function prove(name, runtime, rate) {
  const folder = mkdtempSync(join(tmpdir(), "lastcall-rolling-"));
  // A server that is back before the balancer has missed it, for one, would be
  // waited for without end.
  const limit = 3 * round.requests / rate + 30 * round.restarts + 30;
  const stuck = setTimeout(() => {
    console.log(`FAILED: ${name}, ${runtime.label}: not over after ${limit} s`);
    console.log("\n0 passed, 1 failed");
    process.exit(1);
  }, limit * 1000);
  try {
    return name === "none"
      ? await proveOverlap(runtime, rate, folder)
      : await proveBehind(name, runtime, rate, folder);
  } finally {
    clearTimeout(stuck);
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} name
 * @param {FoundRuntime} runtime
 * @param {number} rate
 * @param {string} folder
 */
async function proveBehind(name, runtime, rate, folder) {
  const [port = 0, ...ports] = await freePorts(3);
  const command = appCommand(runtime);
  const env = shippedTimes();
  const balancer = name === "haproxy"
    ? await startHaproxy(port, ports)
    : await startNginx(port, ports, folder);
  // Each has a folder of its own to write to, and comes back to what it left.
  const start = (/** @type {number} */ port) => {
    const own = join(folder, String(port));
    mkdirSync(own, { recursive: true });
    return startServer(command, port, env, own);
  };
  const servers = await Promise.all(ports.map(start));
  await Promise.all(ports.map((_, i) => balancer.cameBack(i, 1)));

  /** @type {string[]} */
  const problems = [];
  const load = new Load({ port, mix: MIX, rate, seed: round.seed });
  await underLoad(load, async (roll) => {
    for (const [i, port] of ports.entries()) {
      problems.push(...await endServer(servers[i]));
      servers[i] = await start(port);
      // The other one must not leave before this one is wanted again.
      await balancer.cameBack(i, roll + 1);
    }
  });
  for (const server of servers) problems.push(...await endServer(server));
  const served = balancer.served();
  const trouble = balancer.trouble();
  await balancer.end();

  problems.push(...judge(load, load.failures, trouble));
  // A balancer that sent all of them to one server would have proven nothing.
  for (const [i, count] of served.entries()) {
    if (count > load.sent / 4) continue;
    problems.push(
      `app${i + 1} served ${count} of ${load.sent}; expected a quarter`,
    );
  }
  tell(`${name}, ${runtime.label}`, load, served);
  return problems;
}

/**
 * @param {FoundRuntime} runtime
 * @param {number} rate
 * @param {string} folder
 */
async function proveOverlap(runtime, rate, folder) {
  const [port = 0] = await freePorts(1);
  const command = appCommand(runtime);
  const env = { REUSE_PORT: "true" };
  /** @type {Program[]} */
  const servers = [];
  const start = async () => {
    // Two that write to one SQLite file wait for each other, loop and all.
    const own = join(folder, String(servers.length));
    mkdirSync(own);
    const server = await startServer(command, port, env, own);
    servers.push(server);
    return server;
  };
  let server = await start();

  /** @type {string[]} */
  const problems = [];
  const load = new Load({ port, mix: MIX, rate, seed: round.seed });
  await underLoad(load, async () => {
    const next = await start();
    problems.push(...await endServer(server));
    server = next;
  });
  problems.push(...await endServer(server));

  const migrates = existsSync(MIGRATE) &&
    readFileSync(MIGRATE, "utf8").trim() === "1";
  const onDeno = runtime.name === "deno";
  const ours = load.failures.filter(({ kind, kept, note, request }) => {
    // What waits in a closed listener's accept queue is reset by the kernel,
    // unless it may hand it on. Deno closes what it has accepted and not read.
    if (kind === "reset before an answer" && !kept) return migrates && !onDeno;
    // Its shutdown() loses bodies, so before it Deno turns them away unread: a
    // refusal that says when to come again, and that nothing has happened.
    return !(onDeno && note.includes("503") && request.startsWith("POST"));
  });
  problems.push(...judge(load, ours, []));
  const served = servers.map((server) =>
    server.matching(/"message":"request answered"/).length
  );
  for (const [i, count] of served.entries()) {
    if (count === 0) problems.push(`server ${i + 1} served nothing`);
  }
  const name = `none, ${runtime.label}, tcp_migrate_req=${migrates ? 1 : 0}`;
  tell(name, load, served);
  return problems;
}

/**
 * The restarts come evenly over the requests, with some before the first and some
 * after the last.
 *
 * @param {Load} load
 * @param {(roll: number) => Promise<void>} restart
 */
async function underLoad(load, restart) {
  load.start();
  for (let roll = 1; roll <= round.restarts; roll++) {
    await load.reached(round.requests * (roll - 0.5) / round.restarts);
    await restart(roll);
  }
  await load.reached(Math.max(round.requests, load.sent + 500));
  await load.stop();
}

/**
 * @param {Load} load
 * @param {Failure[]} failures
 * @param {string[]} trouble
 */
function judge(load, failures, trouble) {
  const { sent, answered, failures: all } = load;
  const problems = [];
  if (failures.length > 0 && load.within(0.99) > 1000) problems.push(TOO_BUSY);
  if (failures.length > 0) {
    problems.push(`${failures.length} requests:\n${listed(failures, trouble)}`);
  }
  if (answered + all.length !== sent) {
    problems.push(`${sent} were sent, but only ${answered} answered`);
  }
  return problems;
}

/** @param {string} name @param {Load} load @param {number[]} served */
function tell(name, load, served) {
  const { sent, failures } = load;
  console.log(
    `${name}: ${failures.length} failed of ${sent} (${byKind(failures)}); ` +
      `served ${served.join(" + ")}; ` +
      `99 % within ${load.within(0.99)} ms, all within ${load.within(1)} ms`,
  );
}

/**
 * @param {string[]} command
 * @param {number} port
 * @param {Record<string, string>} env
 * @param {string} cwd
 */
async function startServer(command, port, env, cwd) {
  // The demo is what takes its time.
  const demo = { DEMO: "true", HOST: "127.0.0.1" };
  const own = { ...env, ...demo, PORT: String(port) };
  const server = new Program(command, own, cwd);
  await server.line(/"message":"server listening"/);
  return server;
}

/** @param {Program | undefined} server @returns {Promise<string[]>} */
async function endServer(server) {
  const code = await server?.end();
  return code === 0
    ? []
    : [`a server ended with ${code}:\n${server?.lines.slice(-12).join("\n")}`];
}

/** @param {FoundRuntime} runtime */
function appCommand({ name, path }) {
  if (name === "bun") return [path, join(root, "src/main.ts")];
  if (name === "node") {
    execFileSync(process.execPath, [join(root, "scripts/build.js")]);
    return [path, join(root, "dist/main.js")];
  }
  // With the rights of `deno task start`, and without a wrapper in front.
  const config = join(root, "deno.json");
  return [
    path,
    "run",
    "-q",
    `--config=${config}`,
    "-P=server",
    // That of the folder which each of them has for its own.
    "--allow-read=./data",
    "--allow-write=./data",
    join(root, "src/main.ts"),
  ];
}

/** @returns {Record<string, string>} */
function shippedTimes() {
  const compose = readFileSync(join(root, "deploy/compose.yaml"), "utf8");
  const { environment } = parse(compose, { merge: true }).services.app1;
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => name.endsWith("_MS")),
  );
}

/** @param {Failure[]} failures */
function byKind(failures) {
  /** @type {Failure["kind"][]} */
  const kinds = [
    "refused",
    "reset before an answer",
    "cut",
    "timed out",
    "5xx",
    "another status",
  ];
  return kinds.map((kind) =>
    `${kind} ${failures.filter((failure) => failure.kind === kind).length}`
  ).join(", ");
}

/** @param {Failure[]} failures @param {string[]} trouble */
function listed(failures, trouble) {
  return [
    ...failures.slice(0, 20).map(({ at, request, kept, kind, note }) =>
      `    at ${at} ms: ${request}, ${kept ? "kept" : "new"} connection: ` +
      `${kind}${note}`
    ),
    ...trouble.slice(-20).map((line) => `    the balancer: ${line}`),
  ].join("\n");
}

/**
 * Not from port 0: the system would give the same ports to the connections of
 * the load, and a server that comes back would find its own taken.
 *
 * @param {number} count
 */
async function freePorts(count) {
  const ports = [];
  for (let port = 20_000 + process.pid % 10_000; ports.length < count; port++) {
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
