import {
  bands,
  columns,
  drill,
  isShown,
  lostFates,
  rowOf,
  rows,
  total,
} from "./data.js";
import { fateOf, latencyOf } from "./words.js";

/** The least that is worth looking at, in milliseconds. */
const CLOSEST = 5;

/** The stretch of time that is seen. */
export const view = { from: 0, to: drill.ms };

/** Stays within the drill. @param {number} from @param {number} to */
export function look(from, to) {
  const width = Math.min(Math.max(to - from, CLOSEST), drill.ms);
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(0, middle - width / 2), drill.ms - width);
  view.to = view.from + width;
}

/** @param {number} factor @param {number} around a time that stays in place */
export function zoom(factor, around) {
  look(
    around - (around - view.from) * factor,
    around + (view.to - around) * factor,
  );
}

/** Around one restart, from a little before the signal. @param {number} index */
export function lookAtRestart(index) {
  const restart = drill.summary.restarts[index];
  if (!restart) return look(0, drill.ms);
  const exitAt = restart.signalAt + restart.ms;
  // Its successor's start belongs to it.
  const next = drill.servers.map(({ readyAt = 0 }) => readyAt)
    .find((readyAt) => readyAt > exitAt);
  const end = Math.min(next ?? exitAt, exitAt + 2000);
  const margin = Math.max(50, (end - restart.signalAt) * 0.2);
  look(restart.signalAt - margin, end + margin);
}

// The places of things, in CSS pixels. Latency is on top, what the servers do
// in two lanes below it, then a row per connection, then the time.
export const LEFT = 84;
export const RIGHT = 20;
export const LABELS = { signal: 14, exit: 31 };
export const LATENCY = { top: 50, height: 104 };
export const LANES = { top: 172, height: 20 };
export const ROWS = {
  top: LANES.top + 2 * LANES.height + 22,
  height: Math.min(460, Math.max(120, rows * 15)),
};
export const HEIGHT = ROWS.top + ROWS.height + 34;
export const size = { width: 0 };

export const rowHeight = ROWS.height / rows;
/** A loss must be seen from afar, and found by the pointer. */
export const lostHeight = Math.max(rowHeight, 3);

/** @param {number} time */
export function xOf(time) {
  const width = size.width - LEFT - RIGHT;
  return LEFT + (time - view.from) / (view.to - view.from) * width;
}

/** @param {number} x */
export function timeAt(x) {
  const width = size.width - LEFT - RIGHT;
  return view.from + (x - LEFT) / width * (view.to - view.from);
}

let slowest = 10;
for (let request = 0; request < total; request++) {
  if (fateOf(request) === "refused") continue;
  slowest = Math.max(slowest, latencyOf(request));
}
const FASTEST = 0.5;
/** Powers of ten, of which one is above every latency or right at it. */
export const latencyTicks = [1, 10, 100, 1000, 10_000, 100_000]
  .filter((ms) => ms <= slowest * 1.5);

/** By powers of ten: one millisecond and one second both have their place. */
/** @param {number} ms */
export function latencyY(ms) {
  const share = Math.log(Math.max(ms, FASTEST) / FASTEST) /
    Math.log(slowest * 1.2 / FASTEST);
  return LATENCY.top + LATENCY.height * (1 - share);
}

/** The band of a server that is meant by a place. */
/** @param {number} x @param {number} y */
export function bandAt(x, y) {
  const lane = Math.floor((y - LANES.top) / LANES.height);
  const time = timeAt(x);
  return bands.find((band) =>
    band.lane === lane && time >= band.from && time < band.to
  );
}

/** How far from the pointer a request may be, in pixels. */
const REACH = 7;

/** The request that is meant by a place. @param {number} x @param {number} y */
export function requestAt(x, y) {
  let best = -1;
  let nearest = REACH ** 2;
  for (let request = 0; request < total; request++) {
    const dueX = xOf(columns.due[request] ?? 0);
    const from = xOf(columns.began[request] ?? 0);
    const to = xOf(columns.ended[request] ?? 0);
    if (to < x - REACH || Math.min(dueX, from) > x + REACH) continue;
    if (!isShown(request)) continue;
    const overRows = y >= ROWS.top && y < ROWS.top + ROWS.height;
    const dx = overRows ? Math.max(from - x, x - to, 0) : dueX - x;
    const lost = lostFates.has(columns.fate[request] ?? 0);
    const middle = ROWS.top + (rowOf(request) + 0.5) * rowHeight;
    const reach = (lost ? lostHeight : rowHeight) / 2;
    if (overRows && rowOf(request) < 0) continue;
    if (overRows && Math.abs(y - middle) > reach) continue;
    if (!overRows && fateOf(request) === "refused") continue;
    const dy = overRows ? 0 : latencyY(latencyOf(request)) - y;
    const distance = dx ** 2 + dy ** 2;
    // What was lost is painted over what was not.
    if (distance < nearest || lost && distance === nearest) {
      nearest = distance;
      best = request;
    }
  }
  return best;
}
