// From the start of the process to its first answer.

import { Server } from "./contender.js";
import { inTurns, spread } from "./statistics.js";

/** @typedef {import("./contender.js").Field} Field */
/** @typedef {import("./statistics.js").Spread} Spread */
/** @typedef {Record<"bare" | "lastcall" | "srvx", Spread>} StartUp */

/**
 * In milliseconds.
 *
 * @param {Field} field
 * @param {number} rounds
 * @returns {Promise<StartUp>}
 */
export async function startUp({ bare, lastcall, srvx }, rounds) {
  const contenders = [bare, lastcall, srvx];
  // The first start reads from the disk what later ones find in memory.
  for (const contender of contenders) await start(contender);
  const [a, b, c] = await inTurns(rounds, contenders, start);
  return {
    bare: spread(a ?? []),
    lastcall: spread(b ?? []),
    srvx: spread(c ?? []),
  };
}

/** @param {import("./contender.js").Contender} contender */
async function start(contender) {
  const began = performance.now();
  const server = await Server.start(contender);
  await server.answers("/");
  const ms = performance.now() - began;
  await server.kill();
  return ms;
}
