import * as net from "node:net";
import { basename } from "node:path";
import { systemClock } from "./clock.js";
import { drillCommand } from "./drill_command.js";
import { drillTarget } from "./drill_target.js";
import { Load } from "./load.js";
import { freePort, HOST } from "./server.js";
import { bandsOf, summarise } from "./summary.js";

/** @import { Wire } from "./connection.js" */
/** @import { Sent } from "./load.js" */
/** @import { Options } from "./options.js" */
/** @import { Report } from "./server.js" */
/** @import { ServerRecord, Summary } from "./summary.js" */

/**
 * Everything that a drill has seen. Times in milliseconds since it began.
 *
 * @typedef {object} Drill
 * @property {string} startedAt
 * @property {string} what the command, or the target
 * @property {Omit<Options, "headers" | "body">} options
 * @property {number} ms how long it took
 * @property {ServerRecord[]} servers
 * @property {{ slot: number, openedAt: number, closedAt: number, closedBy: string }[]} connections
 * @property {Sent[]} requests
 * @property {Summary} summary
 */

/**
 * What one process, or one run of the signal command, was seen to do. Times in
 * milliseconds of the machine's clock.
 *
 * @typedef {object} Life
 * @property {number} startedAt
 * @property {number | undefined} readyAt
 * @property {number | undefined} signalAt
 * @property {number | undefined} exitAt
 * @property {string | undefined} ending
 * @property {number | null} exitCode
 * @property {string | null} exitSignal that ended it
 * @property {Report | undefined} report
 * @property {number | undefined} reportAt
 */

/** @typedef {(text: string) => void} Say what happens, in a word or two */

/**
 * @param {Options} options
 * @param {(text: string, load: Load) => void} tell
 * @returns {Promise<Drill>}
 */
export async function drill(options, tell) {
  const startedAt = new Date().toISOString();
  const zero = performance.now();
  const { target } = options;
  const host = target?.host ?? HOST;
  const port = target?.port ?? await freePort();
  const load = new Load({
    ...options,
    host: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    clock: systemClock,
    connect: () => connect(host, port),
  });
  /** @type {Say} */
  const say = (text) => tell(text, load);

  const { lives, mishaps, end } = await Promise.race([
    load.trouble,
    target
      ? drillTarget(options, load, say)
      : drillCommand(options, port, load, say),
  ]);

  /** @param {number} at */
  const since = (at) => Math.round((at - zero) * 10) / 10;
  const servers = lives.map((life) => recordOf(life, end, since));
  const requests = load.requests.map((request) => ({
    ...request,
    due: since(request.due),
    began: since(request.began),
    ended: since(request.ended),
  }));
  // There, somebody listens all the time.
  const maxRefused = target || options.overlap ? 0 : Infinity;
  const limits = { ...options, maxRefused };
  // Not for a page that is shown around: who may ask is said in headers.
  const { headers: _, body: __, ...told } = {
    ...options,
    mix: options.mix.map(({ method, path, weight }) => ({
      method,
      path,
      weight,
    })),
  };
  return {
    startedAt,
    what: target ? `http://${host}:${port}` : commandLine(options.command),
    options: told,
    ms: since(end),
    servers,
    connections: load.connections.map(({ slot, connection }) => ({
      slot,
      openedAt: since(connection.openedAt),
      closedAt: since(connection.closedAt ?? end),
      closedBy: connection.closedBy,
    })),
    requests,
    summary: summarise(requests, servers, options.mix, limits, mishaps),
  };
}

/** As a person would have typed it. @param {string[]} command */
function commandLine([file = "", ...args]) {
  return [basename(file), ...args].join(" ");
}

/**
 * @param {Life} life
 * @param {number} end of the drill
 * @param {(at: number) => number} since
 * @returns {ServerRecord}
 */
function recordOf(life, end, since) {
  const { startedAt, readyAt, signalAt, exitAt, ending, report } = life;
  const { exitCode, exitSignal } = life;
  return {
    startedAt: since(startedAt),
    ...(readyAt === undefined ? {} : { readyAt: since(readyAt) }),
    ...(signalAt === undefined ? {} : { signalAt: since(signalAt) }),
    ...(exitAt === undefined ? {} : { exitAt: since(exitAt) }),
    ...(ending === undefined ? {} : { ending, exitCode, exitSignal }),
    ...(report === undefined ? {} : { outcome: report.outcome }),
    bands: bandsOf(life, end).map(({ name, from, to }) => (
      { name, from: since(from), to: since(to) }
    )),
  };
}

/** @param {string} host @param {number} port @returns {Wire} */
function connect(host, port) {
  // Half-open, so that it can be found out how a connection ended.
  return net.connect({ host, port, allowHalfOpen: true, noDelay: true });
}
