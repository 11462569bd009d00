// The rolling-restart proof: real balancers with the shipped configurations, two
// servers of the template's own app, and a client that goes on while they are
// restarted one after the other. One failed request fails it.
//
//   npm run rolling                        each balancer with each runtime, short
//   npm run rolling -- --long              at least 50,000 requests for each
//     --balancer haproxy|nginx             one of them; may be repeated
//     --runtime deno|bun|node24|node20     one of them; may be repeated
//     --restarts 2 --requests 4000 --rate 500 --seed 1
//
// A server is told what deploy/compose.yaml tells it (its DRAIN_DELAY_MS, above
// all), so that the recipe proven here is the one shipped.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { spawnSync } from "node:child_process";
import { parse } from "yaml";
import { findRuntime } from "../runtimes.js";
import { startHaproxy, startNginx } from "./balancer.js";
import { Load } from "./load.js";
import { Program } from "./program.js";

/** @import { RuntimeKey } from "../runtimes.js" */
/** @import { Balancer } from "./balancer.js" */
/** @import { Failure, Request } from "./load.js" */

/** What the clients ask for. @type {Request[]} */
const MIX = [
  { weight: 50, method: "GET", path: "/" },
  { weight: 20, method: "GET", path: "/slow?ms=50" },
  // A request with a body is the hard case: no balancer may send it twice. The
  // app has no such route before the bookmarks come; what matters here is the
  // way of its body, and that the app itself answers.
  {
    weight: 30,
    method: "POST",
    path: "/",
    body: JSON.stringify({
      url: "https://example.com/",
      title: "x".repeat(2000),
    }),
    expect: 404,
  },
];

const ROUNDS = {
  short: { restarts: 2, requests: 3_000, rate: 500 },
  long: { restarts: 10, requests: 50_000, rate: 700 },
};

const root = join(import.meta.dirname, "../..");
const inCI = process.env["CI"] === "true";

const { values: options } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    balancer: { type: "string", multiple: true, default: ["haproxy", "nginx"] },
    runtime: {
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
    if (!isInstalled(name)) {
      console.log(`${inCI ? "FAILED" : "SKIPPED"}: ${name} is not installed`);
      if (inCI) failed++;
      else skipped++;
      continue;
    }
    for (const key of /** @type {RuntimeKey[]} */ (options.runtime)) {
      const runtime = findRuntime(key);
      const problems = await prove(name, runtime);
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
 * @param {ReturnType<typeof findRuntime>} runtime
 */
async function prove(name, runtime) {
  /** @type {string[]} */
  const problems = [];
  const folder = mkdtempSync(join(tmpdir(), "lastcall-rolling-"));
  const [port = 0, ...ports] = await freePorts(3);
  const command = serverCommand(runtime);
  const env = shippedTimes();

  /** @param {number} port */
  const startServer = async (port) => {
    const server = new Program(command, {
      ...env,
      PORT: String(port),
      HOST: "127.0.0.1",
    });
    await server.line(/"message":"server listening"/);
    return server;
  };
  /** @param {Program} server @param {string} which */
  const endServer = async (server, which) => {
    const code = await server.end();
    if (code === 0) return;
    problems.push(`${which} ended with ${code}:\n${server.lines.join("\n")}`);
  };

  const balancer = name === "haproxy"
    ? await startHaproxy(port, ports)
    : await startNginx(port, ports, folder);
  const servers = await Promise.all(ports.map(startServer));
  await Promise.all(ports.map((_, i) => balancer.cameBack(i, 1)));

  const load = new Load({ port, mix: MIX, ...round });
  load.start();
  for (let roll = 1; roll <= round.restarts; roll++) {
    // Evenly over the requests, with some before the first and after the last.
    await load.reached(round.requests * (roll - 0.5) / round.restarts);
    for (const [i, port] of ports.entries()) {
      const old = servers[i];
      if (old) await endServer(old, `app${i + 1}`);
      servers[i] = await startServer(port);
      // The other one must not leave before this one is wanted again.
      await balancer.cameBack(i, roll + 1);
    }
  }
  await load.reached(Math.max(round.requests, load.sent + round.rate));
  await load.stop();
  for (const [i, server] of servers.entries()) {
    await endServer(server, `app${i + 1}`);
  }
  const served = balancer.served();
  const trouble = balancer.trouble();
  await balancer.end();
  rmSync(folder, { recursive: true, force: true });

  const { sent, answered, failures, latencies } = load;
  if (failures.length > 0) {
    problems.push(`${failures.length} requests:\n${listed(failures, trouble)}`);
  }
  if (answered + failures.length !== sent) {
    problems.push(`${sent} were sent, but ${answered} answered`);
  }
  // A balancer that sent all of them to one server would have proven nothing.
  for (const [i, count] of served.entries()) {
    if (count > sent / 4) continue;
    problems.push(`app${i + 1} served ${count} of ${sent}; expected a quarter`);
  }
  latencies.sort((a, b) => a - b);
  const p99 = Math.round(latencies[Math.floor(latencies.length * 0.99)] ?? 0);
  const longest = Math.round(latencies.at(-1) ?? 0);
  console.log(
    `${name}, ${runtime.label}: ${failures.length} failed of ${sent} ` +
      `(${byKind(failures)}); served ${served.join(" + ")}; ` +
      `99 % within ${p99} ms, all within ${longest} ms`,
  );
  return problems;
}

/** @param {ReturnType<typeof findRuntime>} runtime */
function serverCommand({ name, path }) {
  if (name === "bun") return [path, join(root, "src/main.ts")];
  if (name === "node") {
    const { status } = spawnSync(process.execPath, [join(root, "build.js")], {
      stdio: "inherit",
    });
    if (status !== 0) throw new Error("dist/main.js could not be built.");
    return [path, join(root, "dist/main.js")];
  }
  // With the rights of `deno task start`, and without a wrapper in front.
  const { tasks } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  return [path, ...tasks.start.split(" ").slice(1)];
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
    "  The balancer wrote:",
    ...trouble.slice(-20).map((line) => `    ${line}`),
  ].join("\n");
}

/** @param {string} program */
function isInstalled(program) {
  return spawnSync(program, ["-v"]).error === undefined;
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
