// Load, by a tool whose only trade it is: wrk, or autocannon where it is missing.

import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { which } from "../../scripts/which.js";
import { onItsCore } from "./child.js";

/** @typedef {import("./app.js").Route} Route */

/**
 * @typedef {object} Loaded
 * @property {number} requests
 * @property {number} rate a second
 * @property {number} p99 in milliseconds
 */

export const CONNECTIONS = 50;

export const tool = which("wrk") ? "wrk" : "autocannon";

const execute = promisify(execFile);

/**
 * @param {string} url
 * @param {Route} route
 * @param {number} seconds
 * @returns {Promise<Loaded>}
 */
export async function load(url, route, seconds) {
  const [file = "", ...args] = onItsCore(
    "client",
    tool === "wrk" ? wrk(url, route, seconds) : autocannon(url, route, seconds),
  );
  const { stdout } = await execute(file, args, {
    env: { ...process.env, BENCH_BODY: route.body },
    timeout: (seconds + 30) * 1000,
  });
  return tool === "wrk" ? readWrk(stdout) : readAutocannon(stdout);
}

/** @param {string} url @param {Route} route @param {number} seconds */
function wrk(url, { path, body }, seconds) {
  const script = join(import.meta.dirname, "post_json.lua");
  return [
    "wrk",
    "--threads=1",
    `--connections=${CONNECTIONS}`,
    `--duration=${seconds}s`,
    "--latency",
    ...body === undefined ? [] : [`--script=${script}`],
    `${url}${path}`,
  ];
}

/** @param {string} text @returns {Loaded} */
function readWrk(text) {
  const errors = /^.*(Socket errors|Non-2xx).*$/m.exec(text)?.[0];
  if (errors) throw new Error(`wrk met an error: ${errors.trim()}`);
  const [, p99, unit] = /^\s+99%\s+([\d.]+)(us|ms|s)$/m.exec(text) ?? [];
  return whole(text, {
    requests: Number(/(\d+) requests in/.exec(text)?.[1]),
    rate: Number(/^Requests\/sec:\s+([\d.]+)/m.exec(text)?.[1]),
    p99: Number(p99) * (unit === "us" ? 0.001 : unit === "ms" ? 1 : 1000),
  });
}

/** @param {string} url @param {Route} route @param {number} seconds */
function autocannon(url, { path, body }, seconds) {
  const script = "peers/node_modules/autocannon/autocannon.js";
  return [
    process.execPath,
    join(import.meta.dirname, script),
    "--json",
    "--no-progress",
    `--connections=${CONNECTIONS}`,
    `--duration=${seconds}`,
    ...body === undefined ? [] : [
      "--method=POST",
      `--body=${body}`,
      "--headers=Content-Type=application/json",
    ],
    `${url}${path}`,
  ];
}

/** @param {string} text @returns {Loaded} */
function readAutocannon(text) {
  const { requests, latency, errors, non2xx, duration } = JSON.parse(text);
  if (errors + non2xx > 0) {
    throw new Error(`autocannon met ${errors} errors, ${non2xx} bad answers.`);
  }
  const { total } = requests;
  return whole(text, {
    requests: total,
    rate: total / duration,
    p99: latency.p99,
  });
}

/** @param {string} text @param {Loaded} loaded */
function whole(text, loaded) {
  if (Object.values(loaded).every((value) => value > 0)) return loaded;
  throw new Error(`${tool} said something unexpected:\n${text}`);
}
