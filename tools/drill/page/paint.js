import {
  bands,
  byRow,
  columns,
  drill,
  element,
  fates,
  firstFrom,
  isShown,
  lostFates,
  moments,
  rowOf,
  rows,
  total,
} from "./data.js";
import {
  HEIGHT,
  LABELS,
  LANES,
  LATENCY,
  latencyTicks,
  latencyY,
  LEFT,
  lostHeight,
  RIGHT,
  rowHeight,
  ROWS,
  size,
  view,
  xOf,
} from "./view.js";
import { fateOf, latencyOf } from "./words.js";

export const canvas = /** @type {HTMLCanvasElement} */ (element("chart"));
const context = /** @type {CanvasRenderingContext2D} */ (
  canvas.getContext("2d")
);
/** Everything but the selection, which moves while the rest stays. */
const still = document.createElement("canvas");
const stillContext = /** @type {CanvasRenderingContext2D} */ (
  still.getContext("2d")
);
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
/** A loss must be seen from afar. */
const LEAST_WIDTH = 1.2;
const LEAST_WIDTH_LOST = 3;
/** So many dots may be larger ones. */
const FEW = 2000;

/** @type {Map<string, string>} */
const colours = new Map();

/** A custom property of page.css. @param {string} name */
export function colour(name) {
  const property = `--${name.replaceAll(" ", "-")}`;
  let value = colours.get(property);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement)
      .getPropertyValue(property).trim();
    colours.set(property, value);
  }
  return value;
}

/** After a change from light to dark. */
export function forgetColours() {
  colours.clear();
}

export function fit() {
  const ratio = globalThis.devicePixelRatio || 1;
  size.width = canvas.clientWidth;
  canvas.style.height = `${HEIGHT}px`;
  for (const one of [canvas, still]) {
    one.width = Math.round(size.width * ratio);
    one.height = Math.round(HEIGHT * ratio);
  }
  for (const one of [context, stillContext]) {
    one.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
}

/** Draws everything anew. */
export function paint() {
  const c = stillContext;
  c.clearRect(0, 0, size.width, HEIGHT);
  c.font = FONT;
  c.textBaseline = "middle";
  axes(c);
  c.save();
  c.beginPath();
  c.rect(LEFT, 0, size.width - LEFT - RIGHT, HEIGHT);
  c.clip();
  phases(c);
  lines(c);
  lifelines(c);
  bars(c);
  dots(c);
  c.restore();
}

/** Puts the selection over what was painted. */
/** @param {number} selected @param {{ from: number, to: number } | undefined} drag */
export function show(selected, drag) {
  context.clearRect(0, 0, size.width, HEIGHT);
  context.drawImage(still, 0, 0, size.width, HEIGHT);
  if (drag) {
    context.globalAlpha = 0.14;
    context.fillStyle = colour("focus");
    const x = Math.min(drag.from, drag.to);
    context.fillRect(x, 24, Math.abs(drag.to - drag.from), HEIGHT - 50);
    context.globalAlpha = 1;
  }
  if (selected < 0) return;
  const from = xOf(columns.began[selected] ?? 0);
  const to = xOf(columns.ended[selected] ?? 0);
  if (to < LEFT || from > size.width - RIGHT) return;
  const row = rowOf(selected);
  context.strokeStyle = colour("ink");
  context.lineWidth = 2;
  if (row >= 0) {
    const y = ROWS.top + row * rowHeight;
    context.strokeRect(
      from - 2.5,
      y - 1.5,
      Math.max(to - from, LEAST_WIDTH_LOST) + 5,
      rowHeight + 3,
    );
  }
  if (fateOf(selected) === "refused") return;
  context.beginPath();
  const x = xOf(columns.due[selected] ?? 0);
  context.arc(x, latencyY(latencyOf(selected)), 5, 0, 2 * Math.PI);
  context.stroke();
}

/** @param {CanvasRenderingContext2D} c */
function axes(c) {
  const right = size.width - RIGHT;
  c.textAlign = "right";
  for (const ms of latencyTicks) {
    const y = latencyY(ms);
    c.fillStyle = colour("line");
    c.fillRect(LEFT, Math.round(y), right - LEFT, 1);
    c.fillStyle = colour("soft");
    c.fillText(ms < 1000 ? `${ms} ms` : `${ms / 1000} s`, LEFT - 10, y);
  }
  c.fillStyle = colour("soft");
  c.fillText("latency", LEFT - 10, LABELS.exit);
  c.fillText("server", LEFT - 10, LANES.top + LANES.height);
  c.fillText("connection", LEFT - 10, ROWS.top - 12);
  const everyRow = Math.max(1, Math.ceil(18 / rowHeight / 5) * 5);
  for (let row = 0; row < rows; row++) {
    if (row > 0 && (row + 1) % everyRow !== 0) continue;
    c.fillText(`${row + 1}`, LEFT - 10, ROWS.top + (row + 0.5) * rowHeight);
  }

  const step = timeStep((view.to - view.from) / ((right - LEFT) / 90));
  c.textAlign = "center";
  const bottom = ROWS.top + ROWS.height;
  const first = Math.ceil(view.from / step) * step;
  for (let time = first; time <= view.to; time += step) {
    const x = xOf(time);
    c.fillStyle = colour("line");
    c.fillRect(Math.round(x), bottom + 4, 1, 5);
    c.fillStyle = colour("soft");
    const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
    c.fillText(`${(time / 1000).toFixed(digits)} s`, x, bottom + 20);
  }
}

/** One, two or five, and zeros. @param {number} least */
function timeStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least) ?? least;
}

/** @param {CanvasRenderingContext2D} c */
function phases(c) {
  c.textAlign = "left";
  for (const { name, from, to, lane } of bands) {
    const x = xOf(from);
    const width = xOf(to) - x;
    if (x + width < LEFT || x > size.width) continue;
    const y = LANES.top + lane * LANES.height;
    if (name !== "serving" && name !== "starting") {
      c.globalAlpha = 0.1;
      c.fillStyle = colour(name);
      c.fillRect(x, LATENCY.top, width, ROWS.top + ROWS.height - LATENCY.top);
    }
    c.globalAlpha = name === "serving" ? 0.18 : 0.42;
    c.fillStyle = colour(name);
    c.fillRect(x, y + 2, Math.max(width - 1, 1), LANES.height - 4);
    c.globalAlpha = 1;
    // A name stays in sight while its band is.
    const textX = Math.max(x, LEFT) + 7;
    if (c.measureText(name).width + 12 > x + width - textX) continue;
    c.fillStyle = colour("ink");
    c.fillText(name, textX, y + LANES.height / 2 + 0.5);
  }
}

/** @param {CanvasRenderingContext2D} c */
function lines(c) {
  /** Up to where each of the two lines of labels is taken. */
  const taken = { signal: -Infinity, exit: -Infinity };
  c.textAlign = "left";
  for (const { at, text, kind } of moments) {
    const x = Math.round(xOf(at)) + 0.5;
    if (x < LEFT || x > size.width - RIGHT) continue;
    const y = LABELS[kind];
    c.strokeStyle = colour("soft");
    c.lineWidth = 1;
    c.setLineDash(kind === "signal" ? [4, 3] : []);
    c.beginPath();
    c.moveTo(x, y + 9);
    c.lineTo(x, ROWS.top + ROWS.height + 4);
    c.stroke();
    c.setLineDash([]);
    const width = c.measureText(text).width;
    const left = Math.min(x - 3, size.width - RIGHT - width);
    if (left < taken[kind]) continue;
    c.fillStyle = colour("ink");
    c.fillText(text, left, y);
    taken[kind] = left + width + 14;
  }
}

/** Each connection from its opening to its end. @param {CanvasRenderingContext2D} c */
function lifelines(c) {
  c.fillStyle = colour("row");
  const height = Math.max(1, rowHeight * 0.32);
  for (const { slot, openedAt, closedAt } of drill.connections) {
    if (closedAt < view.from || openedAt > view.to) continue;
    const x = xOf(openedAt);
    const y = ROWS.top + (slot + 0.5) * rowHeight - height / 2;
    c.fillRect(x, y, Math.max(xOf(closedAt) - x - 1, 1), height);
  }
}

/** @param {CanvasRenderingContext2D} c */
function bars(c) {
  // What was lost is painted last, and is covered by nothing.
  for (const lost of [false, true]) {
    for (let fate = 0; fate < fates.length; fate++) {
      if (lostFates.has(fate) === lost) barsOf(c, fate, lost);
    }
  }
}

/** @param {CanvasRenderingContext2D} c @param {number} fate @param {boolean} lost */
function barsOf(c, fate, lost) {
  c.fillStyle = colour(fates[fate] ?? "");
  const least = lost ? LEAST_WIDTH_LOST : LEAST_WIDTH;
  const height = lost ? lostHeight : rowHeight * 0.68;
  // One may have begun long before what is seen.
  const earliest = view.from - drill.options.timeout;
  for (const [row, list] of byRow.entries()) {
    const y = ROWS.top + row * rowHeight + (rowHeight - height) / 2;
    let from = -Infinity;
    let to = -Infinity;
    for (let i = firstFrom(list, earliest); i < list.length; i++) {
      const request = list[i] ?? 0;
      const began = columns.began[request] ?? 0;
      if (began > view.to) break;
      if (columns.fate[request] !== fate || !isShown(request)) continue;
      const x = xOf(began);
      const end = Math.max(xOf(columns.ended[request] ?? 0), x + least);
      // Far out, neighbours share their pixels: one stroke for all of them.
      if (x - to < 0.5) {
        to = Math.max(to, end);
        continue;
      }
      if (to >= LEFT) c.fillRect(from, y, to - from, height);
      from = x;
      to = end;
    }
    if (to >= LEFT) c.fillRect(from, y, to - from, height);
  }
}

/** @param {CanvasRenderingContext2D} c */
function dots(c) {
  const width = Math.ceil(size.width);
  const few = (view.to - view.from) / drill.ms * total < FEW;
  for (const lost of [false, true]) {
    const side = lost ? 5 : few ? 3 : 2;
    /** A place is painted once, however many requests share it. */
    const taken = new Uint8Array(width * HEIGHT);
    for (let request = 0; request < total; request++) {
      const fate = columns.fate[request] ?? 0;
      if (lostFates.has(fate) !== lost || !isShown(request)) continue;
      if (fates[fate] === "refused") continue;
      const due = columns.due[request] ?? 0;
      if (due < view.from || due > view.to) continue;
      const x = Math.round(xOf(due));
      const y = Math.round(latencyY(latencyOf(request)));
      const place = y * width + x;
      if (taken[place]) continue;
      taken[place] = 1;
      c.fillStyle = colour(fates[fate] ?? "");
      c.fillRect(x - side / 2, y - side / 2, side, side);
    }
  }
}
