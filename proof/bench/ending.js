// From the signal to the exit, and the memory that was held until then.

import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { Child } from "./child.js";
import { Server } from "./contender.js";
import { inTurns, spread } from "./statistics.js";

/** @typedef {import("./contender.js").Contender} Contender */
/** @typedef {import("./contender.js").Field} Field */
/** @typedef {import("./statistics.js").Spread} Spread */

/**
 * @typedef {object} Ending
 * @property {string} name
 * @property {number} connections idle ones
 * @property {Spread} exitMs
 * @property {Spread} memory bytes, with these connections
 * @property {Spread} growth bytes, since before these connections
 * @property {string} how its exit codes or signals
 */

/**
 * @typedef {object} BusyEnding with requests in flight
 * @property {string} name
 * @property {number} requests
 * @property {number} answered the fewest of all rounds
 * @property {Spread} exitMs
 * @property {string} how
 */

/** @typedef {Contender & { signal: NodeJS.Signals }} Leaver */

export const IDLE = [0, 1000, 10_000];
export const IN_FLIGHT = 500;

/**
 * Longer than any grace for connections that were used a moment ago: these are
 * idle. (With traffic lastcall gives such connections 250 ms, on purpose.)
 */
const QUIET = 500;
const PATIENCE = 30_000;

/** @param {Field} field @returns {Leaver[]} */
function leavers({ bare, lastcall, srvx }) {
  return [
    { ...bare, name: "bare, killed", signal: "SIGKILL" },
    { ...bare, name: "bare, forced stop", signal: "SIGTERM" },
    { ...lastcall, signal: "SIGTERM" },
    { ...srvx, signal: "SIGTERM" },
  ];
}

/**
 * @param {Field} field
 * @param {number} rounds
 * @param {(step: string) => void} progress
 */
export async function endings(field, rounds, progress) {
  const all = leavers(field);
  /** @type {Ending[]} */
  const idle = [];
  for (const connections of IDLE) {
    progress(`${connections} idle connections`);
    const results = await inTurns(
      rounds,
      all,
      (leaver) => endIdle(leaver, connections),
    );
    for (const [index, { name }] of all.entries()) {
      const mine = results[index] ?? [];
      idle.push({
        name,
        connections,
        exitMs: spread(mine.map(({ exitMs }) => exitMs)),
        memory: spread(mine.map(({ memory }) => memory)),
        growth: spread(mine.map(({ memory, before }) => memory - before)),
        how: unique(mine.map(({ how }) => how)),
      });
    }
  }

  progress(`${IN_FLIGHT} requests in flight`);
  const results = await inTurns(rounds, all, endBusy);
  const busy = all.map(({ name }, index) => {
    const mine = results[index] ?? [];
    const answered = Math.min(...mine.map(({ answered }) => answered));
    return {
      name,
      requests: IN_FLIGHT,
      answered,
      exitMs: spread(mine.map(({ exitMs }) => exitMs)),
      how: unique(mine.map(({ how }) => how)),
    };
  });
  return { idle, busy };
}

/** @param {Leaver} leaver @param {number} connections */
async function endIdle(leaver, connections) {
  const server = await Server.start(leaver);
  // Once through everything, so that what is allocated only once is there.
  const first = clients(server, 100, "/");
  await first.event("answered");
  await first.leave();
  await server.answers("/gc");
  const before = server.memory();
  const guests = connections > 0
    ? clients(server, connections, "/")
    : undefined;
  await guests?.event("answered");
  // What the first collection lets go of, the second one takes.
  for (let i = 0; i < 2; i++) {
    await server.answers("/gc");
    await delay(QUIET);
  }
  const memory = server.memory();
  const { exitMs, how } = await end(server, leaver.signal);
  await guests?.leave();
  return { exitMs, how, before, memory };
}

/** @param {Leaver} leaver */
async function endBusy(leaver) {
  const server = await Server.start(leaver);
  const guests = clients(server, IN_FLIGHT, `/held/${IN_FLIGHT}`);
  await server.event("held");
  const { exitMs, how } = await end(server, leaver.signal);
  const { answered = 0 } = await guests.event("closed");
  await guests.leave();
  return { exitMs, how, answered };
}

/** @param {Server} server @param {number} count @param {string} path */
function clients({ port }, count, path) {
  const script = join(import.meta.dirname, "clients.js");
  const args = [String(port), String(count), path];
  return new Child("client", [process.execPath, script, ...args]);
}

/** @param {Server} server @param {NodeJS.Signals} signal */
async function end(server, signal) {
  const began = performance.now();
  server.signal(signal);
  const patience = setTimeout(() => server.signal("SIGKILL"), PATIENCE);
  const { how, at } = await server.exited;
  clearTimeout(patience);
  return { exitMs: at - began, how };
}

/** @param {(string | number)[]} values */
function unique(values) {
  return [...new Set(values)].join(", ");
}
