// What a run found, as Markdown in the shape that `deno fmt` leaves alone.

import { execFileSync } from "node:child_process";
import * as os from "node:os";
import process from "node:process";
import { pinned } from "./child.js";
import { IN_FLIGHT } from "./ending.js";
import { CONNECTIONS, tool } from "./load.js";
import { mean } from "./statistics.js";

/** @typedef {import("./contender.js").RuntimeName} RuntimeName */
/** @typedef {import("./ending.js").Ending} Ending */
/** @typedef {import("./ending.js").BusyEnding} BusyEnding */
/** @typedef {import("./start_up.js").StartUp} StartUp */
/** @typedef {import("./statistics.js").Spread} Spread */
/** @typedef {import("./throughput.js").Throughput} Throughput */

/**
 * @typedef {object} FieldResults
 * @property {RuntimeName} runtime
 * @property {string} label
 * @property {StartUp} starts
 * @property {Throughput[]} routes
 * @property {Ending[]} idle
 * @property {BusyEnding[]} busy
 */

/**
 * @typedef {object} Results
 * @property {number} rounds
 * @property {number} seconds
 * @property {number} starts
 * @property {number} endings
 * @property {string[]} machine
 * @property {FieldResults[]} fields
 */

/** @typedef {{ asked: string, found: string, met: boolean }} Finding */

/** What the field calls good: by route, and on Node of @hono/node-server. */
const LEAST_OF_BARE = { deno: 0.97, bun: 0.97, node: 0.99 };
const LEAST_OF_SRVX = 1;
const MOST_OF_FORCED_EXIT = 2;
const MOST_OF_BARE_MEMORY = 1.1;
const MANY = 10_000;

/** Read before the load begins. */
export function machine() {
  const [cpu] = os.cpus();
  const [busy = 0] = os.loadavg();
  return [
    `${new Date().toISOString().slice(0, 10)}, commit ${commit()}`,
    `${os.availableParallelism()} cores of ${cpu?.model.trim()}, ` +
    `${Math.round(os.totalmem() / 2 ** 30)} GiB, Linux ${os.release()}; ` +
    `load average at the start ${busy.toFixed(2)}`,
    `load from ${tool}, ${CONNECTIONS} connections; ` +
    (pinned
      ? "the server on one core, the client on another"
      : "server and client not pinned, for want of taskset or a second core"),
    `Node ${process.versions.node} runs the bench`,
  ];
}

function commit() {
  try {
    /** @param {string[]} args */
    const git = (...args) =>
      execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" })
        .trim();
    const changed =
      git("status", "--porcelain", ":/src", ":/lastcall", ":/runtimes") !== "";
    return git("rev-parse", "--short", "HEAD") + (changed ? ", changed" : "");
  } catch {
    return "unknown";
  }
}

/** @param {Results} results */
export function markdown(results) {
  const { rounds, seconds, starts, endings, fields } = results;
  return [
    "# Performance",
    "Written by `npm run bench`; run it on your machine, for these numbers are of this one:",
    list([
      ...results.machine,
      fields.map(({ label }) => label).join(", "),
    ]),
    "![Throughput and the time to the exit, by runtime](performance.svg)",
    "## What was asked, and what was found",
    table(
      ["", "Asked", "Found", "Met"],
      fields.flatMap((field) =>
        findings(field).map((
          { asked, found, met },
        ) => [field.label, asked, found, met ? "yes" : "**no**"])
      ),
    ),
    "## Requests a second",
    `Medians of ${rounds} rounds of ${seconds} s. A ratio is taken within each round; in parentheses is the middle half of them. ` +
    "`bare` is `Deno.serve`, `Bun.serve` and `@hono/node-server` with the same Hono app, `bare / bare` the same server in two processes: what differs by less is noise. " +
    "`by CPU` compares the processor time of a request instead, which other work on the machine hardly disturbs; as with rates, more is better.",
    ...fields.flatMap(({ label, routes }) => [
      `### ${label}`,
      table(
        [
          "Route",
          "bare",
          "lastcall",
          "srvx",
          "lastcall / bare",
          "lastcall / srvx",
          "bare / bare",
          "by CPU: lastcall / bare",
          "lastcall / srvx",
          "bare / bare",
        ],
        routes.map((route) => [
          route.route,
          count(route.rate.bare),
          count(route.rate.lastcall),
          count(route.rate.srvx),
          ratio(route.toBare),
          ratio(route.toSrvx),
          ratio(route.noise),
          route.cpu.toBare.toFixed(2),
          route.cpu.toSrvx.toFixed(2),
          route.cpu.noise.toFixed(2),
        ]),
      ),
    ]),
    "## The slowest in a hundred",
    `99th percentile under the same load, in milliseconds. All ${CONNECTIONS} connections ask again as soon as they are answered, so this is the latency of a server with more work than it can do.`,
    table(
      ["", "Route", "bare", "lastcall", "srvx"],
      fields.flatMap(({ label, routes }) =>
        routes.map(({ route, p99 }) => [
          label,
          route,
          p99.bare.toFixed(2),
          p99.lastcall.toFixed(2),
          p99.srvx.toFixed(2),
        ])
      ),
    ),
    "## Start-up",
    `From the start of the process to its first answer, in milliseconds; ${starts} starts each, in turns. All are bundles.`,
    table(
      ["", "bare", "lastcall", "srvx"],
      fields.map(({ label, starts: { bare, lastcall, srvx } }) => [
        label,
        ms(bare),
        ms(lastcall),
        ms(srvx),
      ]),
    ),
    "## Memory",
    "Resident (proportional set size, from `/proc`), after a garbage collection; the bare server twice, so that noise shows.",
    table(
      [
        "",
        "Server",
        "idle",
        "1,000 idle connections",
        "10,000",
        "for each of 1,000",
        "for each of 10,000",
      ],
      fields.flatMap(({ label, idle }) => memoryRows(label, idle)),
    ),
    "## From the signal to the exit",
    `In milliseconds, ${endings} endings each, in turns. Idle connections have been quiet for half a second; those used in the moments before get lastcall's idle grace of 250 ms, on purpose. ` +
    `In flight are ${IN_FLIGHT} requests whose handlers all end half a second after the signal; how many of them were answered whole is of the worst round. ` +
    "`killed` is SIGKILL, which nothing can beat; `forced stop` is the runtime's own: `abort()`, `stop(true)`, `closeAllConnections()`.",
    table(
      [
        "",
        "Server",
        "no connection",
        "1,000 idle",
        "10,000 idle",
        `${IN_FLIGHT} in flight`,
        "answered",
        "exit",
      ],
      fields.flatMap(({ label, idle, busy }) =>
        busy.map(({ name, answered, exitMs, how }) => [
          label,
          name,
          ...idle.filter((ending) => ending.name === name)
            .map(({ exitMs }) => ms(exitMs)),
          ms(exitMs),
          String(answered),
          how,
        ])
      ),
    ),
  ].join("\n\n") + "\n";
}

/** For the terminal. @param {Results} results */
export function verdict({ fields }) {
  return fields.flatMap((field) => [
    field.label,
    ...findings(field).map(({ asked, found, met }) =>
      `  ${met ? "met   " : "MISSED"} ${asked}: ${found}`
    ),
  ]).join("\n");
}

/** @param {FieldResults} field @returns {Finding[]} */
function findings({ runtime, routes, idle }) {
  const ofBare = LEAST_OF_BARE[runtime];
  const exit = ending(idle, "lastcall", MANY).exitMs.median;
  const forced = ending(idle, "bare, forced stop", MANY).exitMs.median;
  const memory = perConnection(ending(idle, "lastcall", MANY));
  const bareMemory = mean(
    idle.filter(({ name, connections }) =>
      name.startsWith("bare") && connections === MANY
    ).map(perConnection),
  );
  return [
    {
      asked: `lastcall / bare at least ${ofBare} on each route`,
      ...worst(routes, ({ toBare }) => toBare, ofBare),
    },
    {
      asked: `lastcall / srvx at least ${LEAST_OF_SRVX.toFixed(2)}`,
      ...worst(routes, ({ toSrvx }) => toSrvx, LEAST_OF_SRVX),
    },
    {
      asked: `exit with ${count(MANY)} idle connections within ` +
        `${MOST_OF_FORCED_EXIT} times of the bare forced stop`,
      found: `${exit.toFixed(0)} ms of ${forced.toFixed(0)} ms, ` +
        `${(exit / forced).toFixed(2)} times`,
      met: exit <= MOST_OF_FORCED_EXIT * forced,
    },
    {
      asked: "memory of an idle connection within 10 % of bare",
      found: `${count(memory)} of ${count(bareMemory)} bytes, ` +
        `${(memory / bareMemory).toFixed(2)} times`,
      met: memory <= MOST_OF_BARE_MEMORY * bareMemory,
    },
  ];
}

/**
 * @param {Throughput[]} routes
 * @param {(route: Throughput) => Spread} of
 * @param {number} least
 */
function worst(routes, of, least) {
  const [first] = [...routes].sort((a, b) => of(a).median - of(b).median);
  const lowest = first ? of(first).median : NaN;
  const below = routes.filter((route) => rounded(of(route).median) < least);
  return {
    found: `${lowest.toFixed(2)} (${first?.route})` +
      (below.length > 1 ? `, ${below.length} routes below` : ""),
    met: below.length === 0,
  };
}

/** Held to what the page shows. @param {number} value */
function rounded(value) {
  return Number(value.toFixed(2));
}

/** @param {Ending[]} idle @param {string} name @param {number} connections */
function ending(idle, name, connections) {
  const found = idle.find((ending) =>
    ending.name === name && ending.connections === connections
  );
  if (!found) throw new Error(`${name} has no ending with ${connections}.`);
  return found;
}

/** @param {Ending} ending */
function perConnection({ growth, connections }) {
  return growth.median / connections;
}

/** @param {string} label @param {Ending[]} idle */
function memoryRows(label, idle) {
  const names = [...new Set(idle.map(({ name }) => name))];
  return names.map((name, index) => {
    const mine = idle.filter((ending) => ending.name === name);
    const bare = ["bare", "bare, again"];
    return [
      label,
      name.startsWith("bare") ? bare[index] ?? name : name,
      ...mine.map(({ memory }) => `${(memory.median / 1e6).toFixed(1)} MB`),
      ...mine.filter(({ connections }) => connections > 0).map((ending) =>
        `${count(perConnection(ending))} bytes`
      ),
    ];
  });
}

/** @param {number} value */
function count(value) {
  return Math.round(value).toLocaleString("en");
}

/** @param {Spread} spread */
function ratio({ median, low, high }) {
  return `${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}

/** @param {Spread} spread */
function ms({ median, low, high }) {
  return `${count(median)} (${count(low)} to ${count(high)})`;
}

/** @param {string[]} items */
function list(items) {
  return items.map((item) => `- ${item}`).join("\n");
}

/** @param {string[]} head @param {string[][]} rows */
function table(head, rows) {
  const widths = head.map((title, column) =>
    Math.max(3, title.length, ...rows.map((row) => row[column]?.length ?? 0))
  );
  /** @param {string[]} cells */
  const line = (cells) =>
    `| ${widths.map((w, i) => (cells[i] ?? "").padEnd(w)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}
