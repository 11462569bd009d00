// Requests a second, latency, and processor time for each request.

import { ROUTES } from "./app.js";
import { Server } from "./contender.js";
import { load } from "./load.js";
import { inTurns, mean, median, spread } from "./statistics.js";

/** @typedef {import("./app.js").Route} Route */
/** @typedef {import("./contender.js").Field} Field */
/** @typedef {import("./load.js").Loaded} Loaded */
/** @typedef {import("./statistics.js").Spread} Spread */

/**
 * @typedef {object} Throughput of one route
 * @property {string} route
 * @property {Record<Name, number>} rate a second
 * @property {Record<Name, number>} p99 in milliseconds
 * @property {Spread} toBare lastcall's rate by the bare runtime's
 * @property {Spread} toSrvx lastcall's rate by srvx's
 * @property {Spread} srvxToBare
 * @property {Spread} noise the bare runtime by itself, in another process
 * @property {Cpu} cpu the same ratios, of requests per second of computing
 */

/** @typedef {{ toBare: number, toSrvx: number, noise: number }} Cpu */

/** @typedef {"bare" | "lastcall" | "srvx"} Name */

/** @typedef {{ rounds: number, seconds: number, warmUp: number }} Options */

/** @typedef {{ server: Server, cpu: number, requests: number }} Runner */

/**
 * All are alive throughout and only one is under load: a process started anew
 * for each round differs more from itself than contenders from each other.
 *
 * @param {Field} field
 * @param {Options} options
 * @param {(step: string) => void} progress
 * @returns {Promise<Throughput[]>}
 */
export async function throughput({ bare, lastcall, srvx }, options, progress) {
  /** @type {Server[]} */
  const servers = [];
  for (const contender of [bare, lastcall, srvx, bare]) {
    servers.push(await Server.start(contender));
  }
  const results = [];
  for (const route of ROUTES) {
    progress(route.name);
    for (const { url } of servers) await check(url, route);
    results.push(await race(servers, route, options));
  }
  for (const server of servers) await server.kill();
  return results;
}

/**
 * @param {Server[]} servers
 * @param {Route} route
 * @param {Options} options
 * @returns {Promise<Throughput>}
 */
async function race(servers, route, { rounds, seconds, warmUp }) {
  /** @type {Runner[]} */
  const runners = servers.map((server) => ({ server, cpu: 0, requests: 0 }));
  // After it, the compilers have done what they will do.
  for (const { url } of servers) await load(url, route, warmUp);
  const [bare, lastcall, srvx, again] = /** @type {Four<Loaded[]>} */ (
    await inTurns(rounds, runners, async (runner) => {
      const before = runner.server.cpu();
      const loaded = await load(runner.server.url, route, seconds);
      runner.cpu += runner.server.cpu() - before;
      runner.requests += loaded.requests;
      return loaded;
    })
  );
  const bares = bare.map(({ rate }, round) => (
    mean([rate, again[round]?.rate ?? NaN])
  ));
  const [cpuBare, cpuLastcall, cpuSrvx, cpuAgain] =
    /** @type {Four<number>} */ (
      runners.map(({ cpu, requests }) => cpu / requests)
    );
  return {
    route: route.name,
    rate: {
      bare: median(bares),
      lastcall: median(rates(lastcall)),
      srvx: median(rates(srvx)),
    },
    p99: {
      bare: median([...bare, ...again].map(({ p99 }) => p99)),
      lastcall: median(lastcall.map(({ p99 }) => p99)),
      srvx: median(srvx.map(({ p99 }) => p99)),
    },
    toBare: ratios(rates(lastcall), bares),
    toSrvx: ratios(rates(lastcall), rates(srvx)),
    srvxToBare: ratios(rates(srvx), bares),
    noise: ratios(rates(again), rates(bare)),
    cpu: {
      toBare: mean([cpuBare, cpuAgain]) / cpuLastcall,
      toSrvx: cpuSrvx / cpuLastcall,
      noise: cpuBare / cpuAgain,
    },
  };
}

/** @template T @typedef {[T, T, T, T]} Four */

/** @param {Loaded[]} loaded */
function rates(loaded) {
  return loaded.map(({ rate }) => rate);
}

/** Round by round. @param {number[]} ours @param {number[]} theirs */
function ratios(ours, theirs) {
  return spread(ours.map((rate, round) => rate / (theirs[round] ?? NaN)));
}

/** Whoever answers wrongly may be as fast as it likes. */
/** @param {string} url @param {Route} route */
async function check(url, { path, body, answer }) {
  const response = await fetch(
    `${url}${path}`,
    body === undefined ? {} : {
      method: "POST",
      body,
      headers: { "Content-Type": "application/json" },
    },
  );
  const text = await response.text();
  if (response.status === 200 && text === answer) return;
  throw new Error(
    `${url}${path} answered ${response.status} "${text}"; ` +
      `expected 200 "${answer}".`,
  );
}
