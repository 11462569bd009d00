/** @import { Packed } from "../html.js" */
/** @import { Band } from "../summary.js" */

/** @type {Packed} */
export const drill = JSON.parse(element("data").textContent ?? "");
export const { columns, fates } = drill;

/** The one with this id, which page.html has. @param {string} id */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`page.html has no #${id}`);
  return found;
}

/** How many requests there are. */
export const total = columns.due.length;

/** Those whose loss somebody felt. */
export const lostFates = new Set(
  fates.map((fate, index) => ({ fate, index }))
    .filter(({ fate }) => fate !== "answered" && fate !== "refused")
    .map(({ index }) => index),
);

/** Which of the connections at a time a request was on: its row. */
export const rows = drill.options.connections;

/** @param {number} request @returns {number} -1 where it never got one */
export function rowOf(request) {
  return drill.connections[columns.connection[request] ?? -1]?.slot ?? -1;
}

/** Of each row its requests, in the order of time. */
/** @type {number[][]} */
export const byRow = Array.from({ length: rows }, () => []);
for (let request = 0; request < total; request++) {
  byRow[rowOf(request)]?.push(request);
}

/** What each server was doing, and in which of the two lanes that is drawn. */
/** @type {(Band & { server: number, lane: number })[]} */
export const bands = drill.servers.flatMap((server, index) =>
  server.bands.map((band) => ({ ...band, server: index + 1, lane: index % 2 }))
);

/** Signals and exits, as lines. */
/** @type {{ at: number, text: string, kind: "signal" | "exit" }[]} */
export const moments = [];
for (const { signalAt, exitAt, ending = "exit" } of drill.servers) {
  const { signal, target } = drill.options;
  const text = target ? "command" : signal;
  if (signalAt !== undefined) {
    moments.push({ at: signalAt, text, kind: "signal" });
  }
  if (exitAt !== undefined) {
    moments.push({ at: exitAt, text: ending, kind: "exit" });
  }
}

/** Which fates are shown: each, until its filter is turned off. */
export const shown = new Set(fates.keys());

/** @param {number} request */
export function isShown(request) {
  return shown.has(columns.fate[request] ?? -1);
}

/** The first of `list`, which is in order of time, at or after `time`. */
/** @param {number[]} list @param {number} time */
export function firstFrom(list, time) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((columns.began[list[middle] ?? 0] ?? 0) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
