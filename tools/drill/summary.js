import { FATES, LOST } from "./fate.js";

/** @import { Fate } from "./fate.js" */
/** @import { Sent } from "./load.js" */
/** @import { Route } from "./mix.js" */

/**
 * One process, or one run of the signal command. Times in milliseconds since
 * the drill began.
 *
 * @typedef {object} ServerRecord
 * @property {number} startedAt
 * @property {number} [readyAt]
 * @property {number} [signalAt] absent where the drill ended first
 * @property {number} [exitAt]
 * @property {string} [ending] "exit code 0", "ended by SIGTERM"
 * @property {number | null} [exitCode]
 * @property {string | null} [exitSignal]
 * @property {string} [outcome] the server's own word
 * @property {Band[]} bands
 */

/** @typedef {{ name: string, from: number, to: number }} Band */

/** @typedef {{ count: number, p50: number, p99: number, max: number }} Latency */

/**
 * @typedef {object} LostRequest
 * @property {string} method
 * @property {string} path
 * @property {Fate} fate
 * @property {string} cause
 * @property {number} at when it was sent
 * @property {number} connection
 * @property {number} nth of its connection
 * @property {string} moment
 */

/**
 * @typedef {object} Restart
 * @property {number} signalAt
 * @property {number} ms to the end
 * @property {string} ending in words
 * @property {number | null} exitCode
 * @property {string | null} exitSignal
 * @property {string} [outcome]
 */

/**
 * @typedef {object} Summary
 * @property {number} requests
 * @property {Record<Fate, number>} fates
 * @property {{ serving: Latency, draining: Latency }} latency of the answered
 * @property {Restart[]} restarts
 * @property {LostRequest[]} lost
 * @property {{ ok: boolean, reasons: string[] }} verdict
 */

/** @typedef {{ maxDropped: number, maxRaced: number, maxRefused: number }} Limits */

/**
 * @param {Sent[]} requests
 * @param {ServerRecord[]} servers
 * @param {Route[]} mix
 * @param {Limits} limits
 * @param {string[]} mishaps what else went wrong, one sentence each
 * @returns {Summary}
 */
export function summarise(requests, servers, mix, limits, mishaps) {
  const fates = /** @type {Record<Fate, number>} */ (
    Object.fromEntries(FATES.map((fate) => [fate, 0]))
  );
  for (const { fate } of requests) fates[fate]++;

  const drains = servers.flatMap(({ signalAt, exitAt }) =>
    signalAt === undefined || exitAt === undefined
      ? []
      : [{ from: signalAt, to: exitAt }]
  );
  /** @type {number[]} */
  const serving = [];
  /** @type {number[]} */
  const draining = [];
  for (const { due, ended, fate } of requests) {
    if (fate !== "answered") continue;
    const during = drains.some(({ from, to }) => due >= from && due < to);
    (during ? draining : serving).push(ended - due);
  }

  const restarts = servers.flatMap((server) => {
    const { signalAt, exitAt, ending = "", outcome } = server;
    const { exitCode = null, exitSignal = null } = server;
    return signalAt === undefined || exitAt === undefined ? [] : [{
      signalAt,
      ms: exitAt - signalAt,
      ending,
      exitCode,
      exitSignal,
      ...(outcome === undefined ? {} : { outcome }),
    }];
  });
  const lost = requests.filter(({ fate }) => LOST.includes(fate))
    .sort((a, b) => a.began - b.began)
    .map((request) => ({
      method: mix[request.route]?.method ?? "",
      path: mix[request.route]?.path ?? "",
      fate: request.fate,
      cause: request.cause,
      at: request.began,
      connection: request.connection,
      nth: request.nth,
      moment: momentOf(request, servers),
    }));

  return {
    requests: requests.length,
    fates,
    latency: { serving: latencyOf(serving), draining: latencyOf(draining) },
    restarts,
    lost,
    verdict: judgeDrill(fates, requests.length, limits, mishaps),
  };
}

/**
 * @param {Record<Fate, number>} fates
 * @param {number} requests
 * @param {Limits} limits
 * @param {string[]} mishaps
 */
function judgeDrill(fates, requests, limits, mishaps) {
  const { maxDropped, maxRaced, maxRefused } = limits;
  const reasons = [...mishaps];
  const dropped = fates.dropped + fates["timed out"] + fates["wrong status"];
  if (dropped > maxDropped) {
    reasons.push(
      `${dropped} of ${requests} requests were dropped, timed out or got a ` +
        `wrong status; expected ${atMost(maxDropped)}.`,
    );
  }
  if (fates.raced > maxRaced) {
    reasons.push(
      `${fates.raced} of ${requests} requests were raced; expected ` +
        `${atMost(maxRaced)}.`,
    );
  }
  if (fates.refused > maxRefused) {
    reasons.push(
      `${fates.refused} of ${requests} requests were refused; expected ` +
        `${atMost(maxRefused)}, for somebody was to listen all the time.`,
    );
  }
  // Nothing lost, for nothing was there to lose.
  if (fates.answered === 0) reasons.push("Not one request was answered.");
  return { ok: reasons.length === 0, reasons };
}

/** @param {number} limit */
function atMost(limit) {
  return limit === 0 ? "none" : `at most ${limit}`;
}

/** By nearest rank: each is a latency that somebody had. */
/** @param {number[]} values @returns {Latency} */
export function latencyOf(values) {
  const sorted = values.toSorted((a, b) => a - b);
  /** @param {number} share */
  const rank = (share) => sorted[Math.ceil(sorted.length * share) - 1] ?? 0;
  return {
    count: sorted.length,
    p50: rank(0.5),
    p99: rank(0.99),
    max: sorted.at(-1) ?? 0,
  };
}

/**
 * Where in the drill that was, in words.
 *
 * @param {{ began: number, ended: number }} request
 * @param {ServerRecord[]} servers
 */
export function momentOf({ began, ended }, servers) {
  const restarts = servers.filter(({ signalAt }) => signalAt !== undefined);
  for (const [i, { signalAt = 0, exitAt = Infinity }] of restarts.entries()) {
    if (began < signalAt && ended >= signalAt) {
      return `${Math.round(signalAt - began)} ms before signal ${i + 1}`;
    }
    if (began >= signalAt && began < exitAt) {
      return `${Math.round(began - signalAt)} ms after signal ${i + 1}`;
    }
  }
  const last = restarts.findLastIndex(({ exitAt = Infinity }) =>
    exitAt <= began
  );
  const { exitAt = 0 } = restarts[last] ?? {};
  return last < 0
    ? "before the first signal"
    : `${Math.round(began - exitAt)} ms after exit ${last + 1}`;
}

/**
 * What a server was doing, and when: by its own report where there is one.
 *
 * @param {object} server
 * @param {number} server.startedAt
 * @param {number | undefined} server.readyAt
 * @param {number | undefined} server.signalAt
 * @param {number | undefined} server.exitAt
 * @param {number | undefined} server.reportAt
 * @param {{ phases: { phase: string, ms: number }[] } | undefined} server.report
 * @param {number} end of the drill
 * @returns {Band[]}
 */
export function bandsOf(server, end) {
  const { startedAt, readyAt = end, exitAt = end, report } = server;
  const { signalAt = exitAt, reportAt = exitAt } = server;
  const bands = [
    { name: "starting", from: startedAt, to: readyAt },
    { name: "serving", from: readyAt, to: signalAt },
  ];
  if (!report) {
    bands.push({ name: "stopping", from: signalAt, to: exitAt });
  } else {
    // Its durations are its own, its clock is not ours: the line came with the
    // end of the last one.
    const phases = report.phases.filter(({ phase }) =>
      phase !== "starting" && phase !== "serving"
    );
    const total = phases.reduce((sum, { ms }) => sum + ms, 0);
    let from = Math.max(signalAt, Math.min(reportAt, exitAt) - total);
    for (const { phase, ms } of phases) {
      const to = Math.min(from + ms, exitAt);
      bands.push({ name: phase, from, to });
      from = to;
    }
    bands.push({ name: "exiting", from, to: exitAt });
  }
  return bands.filter(({ from, to }) => to > from);
}
