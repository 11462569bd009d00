import {
  byRow,
  columns,
  drill,
  element,
  fates,
  firstFrom,
  isShown,
  lostFates,
  rowOf,
  rows,
  shown,
  total,
} from "./data.js";
import {
  colourOf,
  countFates,
  make,
  writeFigures,
  writeLost,
  writeRestarts,
  writeVerdict,
} from "./figures.js";
import { canvas, fit, forgetColours, paint, show } from "./paint.js";
import {
  bandAt,
  LEFT,
  look,
  lookAtRestart,
  requestAt,
  timeAt,
  view,
  zoom,
} from "./view.js";
import {
  clock,
  count,
  duration,
  facts,
  requestLine,
  sentence,
  verb,
} from "./words.js";

const tip = element("tip");
const detail = element("detail");
const windows = /** @type {HTMLSelectElement} */ (element("window"));

let selected = -1;
let opened = false;
let stale = true;
let asked = false;
/** @type {{ from: number, to: number } | undefined} */
let drag;

/** Draws once a frame, however much happened in it. @param {boolean} anew */
function redraw(anew) {
  stale ||= anew;
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    if (stale) paint();
    stale = false;
    show(selected, drag);
  });
}

/** @param {number} request @param {boolean} open */
function choose(request, open) {
  selected = request;
  opened = open;
  tip.hidden = true;
  tell();
  if (request >= 0) bringIntoView(request);
  redraw(false);
}

/** @param {number} request */
function bringIntoView(request) {
  const began = columns.began[request] ?? 0;
  const ended = columns.ended[request] ?? 0;
  const width = view.to - view.from;
  if (began >= view.from && Math.min(ended, began + width) <= view.to) return;
  look(began - width / 2, began + width / 2);
  moved();
}

/** What is known of the selected request, for eyes and for screen readers. */
function tell() {
  if (selected < 0) {
    const hint = total === 0
      ? "There are no requests."
      : "Point at a request, or go to the timeline by Tab and move by the " +
        "arrow keys.";
    detail.replaceChildren(make("p", { class: "hint" }, hint));
    return;
  }
  const line = make(
    "p",
    {},
    make("b", {}, requestLine(selected)),
    ` at ${clock(columns.began[selected] ?? 0)}: ${sentence(selected)}.`,
  );
  detail.replaceChildren(line);
  if (!opened) return;
  detail.append(
    make(
      "dl",
      {},
      ...facts(selected).map(([name, text]) =>
        make("div", {}, make("dt", {}, name), make("dd", {}, text))
      ),
    ),
  );
}

/** The next one that is shown. */
/** @param {number} step @param {(request: number) => boolean} fits @param {number} first */
function nextInTime(
  step,
  fits,
  first = selected >= 0 ? selected + step : firstInView(step),
) {
  for (let i = first; i >= 0 && i < total; i += step) {
    if (isShown(i) && fits(i)) return choose(i, opened);
  }
}

/** @param {number} step */
function firstInView(step) {
  const all = [...columns.began.keys()];
  const index = firstFrom(all, step > 0 ? view.from : view.to);
  return step > 0 ? index : index - 1;
}

/** The nearest in time on the next connection that has one. */
/** @param {number} step */
function nextRow(step) {
  if (selected < 0) return nextInTime(1, () => true);
  const began = columns.began[selected] ?? 0;
  for (let row = rowOf(selected) + step; row >= 0 && row < rows; row += step) {
    const list = (byRow[row] ?? []).filter(isShown);
    const index = firstFrom(list, began);
    const [before, after] = [list[index - 1], list[index]];
    /** @param {number | undefined} request */
    const distance = (request) =>
      request === undefined
        ? Infinity
        : Math.abs((columns.began[request] ?? 0) - began);
    const best = distance(before) < distance(after) ? before : after;
    if (best !== undefined) return choose(best, opened);
  }
}

/** @type {Record<string, () => void>} */
const keys = {
  ArrowRight: () => nextInTime(1, () => true),
  ArrowLeft: () => nextInTime(-1, () => true),
  ArrowDown: () => nextRow(1),
  ArrowUp: () => nextRow(-1),
  Home:
    () => (look(0, view.to - view.from), moved(), nextInTime(1, () => true, 0)),
  End: () => nextInTime(-1, () => true, total - 1),
  n: () => nextInTime(1, (i) => lostFates.has(columns.fate[i] ?? 0)),
  p: () => nextInTime(-1, (i) => lostFates.has(columns.fate[i] ?? 0)),
  Enter: () => {
    if (selected < 0) return;
    choose(selected, true);
    detail.focus();
  },
  Escape: () => choose(-1, false),
  "+": () => zoomBy(0.5),
  "=": () => zoomBy(0.5),
  "-": () => zoomBy(2),
  "0": () => lookAt(-1),
};

/** @param {number} factor */
function zoomBy(factor) {
  const began = columns.began[selected] ?? -1;
  const inView = began >= view.from && began <= view.to;
  zoom(factor, inView ? began : (view.from + view.to) / 2);
  moved();
}

/** What is seen now has no name, unless it is all there is. */
function moved() {
  windows.value = view.to - view.from < drill.ms ? "part" : "-1";
  redraw(true);
}

/** @param {number} restart -1 for all of it */
function lookAt(restart) {
  lookAtRestart(restart);
  windows.value = String(restart);
  redraw(true);
}

function listen() {
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  detail.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    opened = false;
    tell();
    canvas.focus();
  });

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.offsetX < LEFT) return;
    canvas.setPointerCapture(event.pointerId);
    drag = { from: event.offsetX, to: event.offsetX };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag) {
      drag.to = Math.max(LEFT, event.offsetX);
      redraw(false);
    } else point(event);
  });
  canvas.addEventListener("pointerup", (event) => {
    const dragged = drag;
    drag = undefined;
    if (dragged && Math.abs(dragged.to - dragged.from) > 4) {
      const [from, to] = [timeAt(dragged.from), timeAt(dragged.to)];
      look(Math.min(from, to), Math.max(from, to));
      moved();
    } else choose(requestAt(event.offsetX, event.offsetY), true);
  });
  canvas.addEventListener("pointerleave", () => tip.hidden = true);
  canvas.addEventListener("wheel", (event) => {
    const zooms = event.ctrlKey || event.metaKey;
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    if (
      !zooms && Math.abs(across) < Math.abs(event.deltaY) && !event.shiftKey
    ) {
      return; // The page's own.
    }
    event.preventDefault();
    if (zooms) zoom(1.002 ** event.deltaY, timeAt(event.offsetX));
    else {
      const shift = across / canvas.clientWidth * (view.to - view.from);
      look(view.from + shift, view.to + shift);
    }
    moved();
  }, { passive: false });

  element("in").addEventListener("click", () => zoomBy(0.5));
  element("out").addEventListener("click", () => zoomBy(2));
  windows.addEventListener("change", () => lookAt(Number(windows.value)));

  new ResizeObserver(() => {
    fit();
    redraw(true);
  }).observe(element("stage"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    forgetColours();
    redraw(true);
  });
}

/** Tells of what the pointer is on. @param {PointerEvent} event */
function point({ offsetX: x, offsetY: y }) {
  const request = requestAt(x, y);
  const band = bandAt(x, y);
  tip.hidden = request < 0 && !band;
  if (request >= 0) {
    tip.replaceChildren(
      make("b", {}, requestLine(request)),
      ` at ${clock(columns.began[request] ?? 0)}`,
      make("br", {}),
      sentence(request),
    );
  } else if (band) {
    tip.replaceChildren(
      make("b", {}, `server ${band.server}`),
      ` ${verb(band.name)} for ${duration(band.to - band.from)}`,
    );
  }
  const room = canvas.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.min(x + 14, room)}px`;
  tip.style.top = `${y + 18}px`;
}

function addFilters() {
  for (const [fate, n] of countFates().entries()) {
    const name = fates[fate] ?? "";
    const button = make(
      "button",
      {
        type: "button",
        class: n === 0 ? "fate none" : "fate",
        style: colourOf(name),
        "aria-pressed": "true",
        "data-fate": name,
      },
      `${name} `,
      make("b", {}, count(n)),
    );
    button.addEventListener("click", () => {
      const on = !shown.has(fate);
      if (on) shown.add(fate);
      else shown.delete(fate);
      button.setAttribute("aria-pressed", String(on));
      if (selected >= 0 && !isShown(selected)) choose(-1, false);
      redraw(true);
    });
    element("filters").append(button);
  }
}

function addWindows() {
  windows.append(
    make("option", { value: "-1" }, "the whole drill"),
    // Nobody can choose it.
    make("option", { value: "part", hidden: "" }, "a part of it"),
  );
  for (const index of drill.summary.restarts.keys()) {
    windows.append(
      make("option", { value: `${index}` }, `restart ${index + 1}`),
    );
  }
}

writeVerdict();
writeFigures();
addFilters();
addWindows();
writeLost((request) => {
  choose(request, true);
  canvas.scrollIntoView({ block: "nearest" });
});
writeRestarts();
tell();
fit();
listen();
redraw(true);
