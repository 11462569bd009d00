import { columns, drill, element, fates, lostFates, total } from "./data.js";
import {
  causeOf,
  clock,
  count,
  duration,
  fateOf,
  requestLine,
  several,
} from "./words.js";

/** A table is for reading: beyond this the timeline has them all. */
const MOST_LISTED = 200;

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {(Node | string)[]} children
 */
export function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** How many requests had each fate, counted anew from the requests. */
export function countFates() {
  const counts = fates.map(() => 0);
  for (const fate of columns.fate) counts[fate] = (counts[fate] ?? 0) + 1;
  return counts;
}

export function writeVerdict() {
  const { fates, verdict, requests, restarts } = drill.summary;
  const { options, what } = drill;
  const lost = fates.dropped + fates["timed out"] + fates["wrong status"];
  const title = element("verdict");
  title.classList.toggle("bad", lost > 0 || !verdict.ok);
  title.textContent = lost === 0 && fates.raced === 0
    ? verdict.ok ? "Nothing was lost" : "The drill failed"
    : lost === 0
    ? `Nothing was dropped, ${several(fates.raced, "request")} raced`
    : `${count(lost)} of ${several(requests, "request")} lost` +
      (fates.raced > 0 ? `, ${count(fates.raced)} raced` : "");

  element("about").append(
    make("code", {}, what),
    `, restarted ${
      restarts.length === 1 ? "once" : `${restarts.length} times`
    }` +
      (options.target ? "" : ` by ${options.signal}`) +
      (options.overlap ? ", the next one started first," : "") +
      ` under ${several(options.rate, "request")} a second on ` +
      `${several(options.connections, "connection")}. ` +
      new Date(drill.startedAt).toLocaleString("en-GB", {
        dateStyle: "long",
        timeStyle: "short",
      }) + ".",
  );
  element("reasons").append(
    ...verdict.reasons.map((reason) => make("li", {}, reason)),
  );
}

export function writeFigures() {
  const { requests, fates, latency, restarts } = drill.summary;
  const { serving, draining } = latency;
  const slowest = Math.max(0, ...restarts.map(({ ms }) => ms));
  // Rounded down: 100 % is for all of them.
  const share = Math.floor(10_000 * fates.answered / Math.max(1, requests)) /
    100;
  /** @type {[string, string, string?][]} */
  const figures = [
    ["requests", count(requests)],
    ["answered", `${share === 100 ? 100 : share.toFixed(2)}`, "%"],
    ["refused while nobody listened", count(fates.refused)],
    [
      "p50 / p99 while serving",
      `${serving.p50.toFixed(1)} / ${serving.p99.toFixed(1)}`,
      "ms",
    ],
    draining.count === 0 ? ["answered while draining", "0"] : [
      "p50 / p99 while draining",
      `${draining.p50.toFixed(1)} / ${draining.p99.toFixed(1)}`,
      "ms",
    ],
    ["signal to end, at most", count(Math.round(slowest)), "ms"],
  ];
  element("figures").append(...figures.map(([name, value, unit = ""]) =>
    make(
      "div",
      {},
      make("dt", {}, name),
      make("dd", {}, value, make("small", {}, unit ? ` ${unit}` : "")),
    )
  ));
}

/** @param {(request: number) => void} choose */
export function writeLost(choose) {
  const lost = [...columns.fate.keys()]
    .filter((request) => lostFates.has(columns.fate[request] ?? 0));
  if (lost.length === 0) return;
  element("lost").hidden = false;
  const listed = lost.slice(0, MOST_LISTED);
  const more = lost.length - listed.length;
  table("lost", ["Sent at", "Moment", "Request", "Fate", "Why"], [
    // The summary has them in the same order.
    ...listed.map((request, index) => {
      const button = make(
        "button",
        { type: "button" },
        clock(columns.began[request] ?? 0),
      );
      button.addEventListener("click", () => choose(request));
      const fate = fateOf(request);
      const mark = make("span", { class: "fate", style: colourOf(fate) }, fate);
      const moment = drill.summary.lost[index]?.moment ?? "";
      return [button, moment, requestLine(request), mark, causeOf(request)];
    }),
    ...(more > 0 ? [["", "", "", "", `and ${count(more)} more`]] : []),
  ]);
}

export function writeRestarts() {
  const { servers } = drill;
  const restarted = servers.filter(({ signalAt, exitAt }) =>
    signalAt !== undefined && exitAt !== undefined
  );
  if (restarted.length === 0) return;
  element("restarts").hidden = false;
  table(
    "restarts",
    ["", "Signal at", "To the end", "Ending", "What it did"],
    restarted.map((server, index) => {
      const { signalAt = 0, exitAt = 0, ending = "", outcome } = server;
      const done = make("span", {});
      for (const { name, from, to } of server.bands) {
        if (from < signalAt || to - from < 0.5) continue;
        const text = `${name} ${duration(to - from)}`;
        done.append(
          make("span", { class: "band", style: colourOf(name) }, text),
        );
      }
      return [
        `${index + 1}`,
        clock(signalAt),
        duration(exitAt - signalAt),
        outcome ? `${ending}, ${outcome}` : ending,
        done,
      ];
    }),
  );
}

/** @param {string} name of a fate or a phase */
export function colourOf(name) {
  return `--colour: var(--${name.replaceAll(" ", "-")})`;
}

/** @param {string} section @param {string[]} head @param {(Node | string)[][]} body */
function table(section, head, body) {
  element(section).querySelector("table")?.append(
    make(
      "thead",
      {},
      make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text))),
    ),
    make(
      "tbody",
      {},
      ...body.map((cells) =>
        make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))
      ),
    ),
  );
}

/** For those who ask whether the page has all of them. */
document.documentElement.dataset["requests"] = String(total);
