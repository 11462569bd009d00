// The picture of a run: one panel per runtime, requests above, endings below.

/** @typedef {import("./report.js").FieldResults} FieldResults */
/** @typedef {import("./report.js").Results} Results */
/** @typedef {import("./statistics.js").Spread} Spread */

const PANEL = 330;
const MARGIN = 24;
const LABELS = 104;
const ROW = 40;
const TOP = 118;
const BAR = 13;

// A reader's light or dark wins where the picture is shown by itself, and its
// own background keeps it readable on a page that disagrees.
const STYLE = `
  svg { --paper: #ffffff; --ink: #1f2328; --faint: #d5dae0; --quiet: #59636e;
    --lastcall: #0b6e4f; --srvx: #b35900; --bare: #57606a; --killed: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --faint: #30363d; --quiet: #9198a1;
      --lastcall: #3fb98b; --srvx: #e3943b; --bare: #9198a1; --killed: #656c76 }
  }
  text { font: 12px system-ui, sans-serif; fill: var(--ink) }
  .title { font-size: 16px; font-weight: 600 }
  .head { font-weight: 600 }
  .quiet { fill: var(--quiet); font-size: 11px }
  .end { text-anchor: end }
  .middle { text-anchor: middle }
  .paper { fill: var(--paper) }
  .axis { stroke: var(--faint) }
  .one { stroke: var(--quiet); stroke-dasharray: 3 3 }
  .noise { fill: var(--faint) }
`;

/** @param {Results} results */
export function plot({ fields }) {
  const rows = Math.max(...fields.map(({ routes }) => routes.length));
  const endingsTop = TOP + rows * ROW + 92;
  const counts = connectionCounts(fields);
  const height = endingsTop + counts.length * 4 * (BAR + 3) +
    counts.length * 14 + 46;
  const width = MARGIN * 2 + PANEL * fields.length;
  const ratios = ratioScale(fields);
  const times = timeScale(fields);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="lastcall beside the bare runtime and srvx: requests a second, and the time from the signal to the exit">`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="100%" height="100%"/>`,
    text(MARGIN, 34, "Requests a second, of the bare runtime's", "title"),
    legend(54, [["lastcall", "lastcall"], ["srvx", "srvx"], [
      "noise",
      "the bare runtime by itself: noise",
    ]]),
    ...fields.map((field, index) =>
      throughputPanel(field, MARGIN + index * PANEL, ratios)
    ),
    text(
      MARGIN,
      endingsTop - 34,
      "From the signal to the exit, in milliseconds, with idle connections",
      "title",
    ),
    legend(endingsTop - 14, [
      ["lastcall", "lastcall"],
      ["srvx", "srvx"],
      ["bare", "bare, forced stop"],
      ["killed", "bare, killed"],
    ]),
    ...fields.map((field, index) =>
      endingsPanel(field, MARGIN + index * PANEL, endingsTop, counts, times)
    ),
    "</svg>\n",
  ].join("\n");
}

/** @param {FieldResults} field @param {number} left @param {Scale} scale */
function throughputPanel({ label, routes }, left, scale) {
  const bottom = TOP + routes.length * ROW;
  /** @param {number} value */
  const x = (value) => left + LABELS + scale.at(value) * (PANEL - LABELS - 60);
  const parts = [
    text(left, TOP - 24, label, "head"),
    ...scale.ticks.flatMap((tick) => [
      line(x(tick), TOP - 12, x(tick), bottom, "axis"),
      text(x(tick), bottom + 16, tick.toFixed(1), "quiet middle"),
    ]),
  ];
  for (const [index, route] of routes.entries()) {
    const y = TOP + index * ROW;
    const { low, high } = route.noise;
    parts.push(
      `<rect class="noise" x="${n(x(low))}" y="${y - 8}" width="${
        n(Math.max(1, x(high) - x(low)))
      }" height="${ROW - 10}"/>`,
      text(left, y + 10, route.route, ""),
      mark(x, y, route.toBare, "lastcall"),
      mark(x, y + 15, route.srvxToBare, "srvx"),
    );
  }
  parts.push(line(x(1), TOP - 12, x(1), bottom, "one"));
  return parts.join("\n");
}

/**
 * A dot on its whisker, and its number.
 *
 * @param {(value: number) => number} x
 * @param {number} y
 * @param {Spread} spread
 * @param {string} color
 */
function mark(x, y, { median, low, high }, color) {
  const style = `stroke="var(--${color})" fill="var(--${color})"`;
  return [
    `<line x1="${n(x(low))}" y1="${y}" x2="${
      n(x(high))
    }" y2="${y}" stroke-width="3" ${style}/>`,
    `<circle cx="${n(x(median))}" cy="${y}" r="4.5" ${style}/>`,
    text(x(Infinity) + 10, y + 4, median.toFixed(2), "quiet"),
  ].join("\n");
}

/**
 * @param {FieldResults} field
 * @param {number} left
 * @param {number} top
 * @param {number[]} counts
 * @param {Scale} scale
 */
function endingsPanel({ idle }, left, top, counts, scale) {
  const colors = new Map([
    ["lastcall", "lastcall"],
    ["srvx", "srvx"],
    ["bare, forced stop", "bare"],
    ["bare, killed", "killed"],
  ]);
  const parts = [];
  let y = top + 14;
  for (const connections of counts) {
    const who = `${connections.toLocaleString("en")} idle`;
    parts.push(text(left, y + 10, who, ""));
    for (const [name, color] of colors) {
      const ending = idle.find((ending) =>
        ending.name === name && ending.connections === connections
      );
      if (!ending) continue;
      const { median } = ending.exitMs;
      const length = Math.max(
        2,
        scale.at(median) * (PANEL - LABELS - 70),
      );
      parts.push(
        `<rect x="${left + LABELS}" y="${y}" width="${
          n(length)
        }" height="${BAR}" rx="2" fill="var(--${color})"/>`,
        text(
          left + LABELS + length + 6,
          y + 11,
          Math.round(median).toLocaleString("en"),
          "quiet",
        ),
      );
      y += BAR + 3;
    }
    y += 14;
  }
  parts.push(text(left, y + 8, "the scale is logarithmic", "quiet"));
  return parts.join("\n");
}

/** @typedef {{ at: (value: number) => number, ticks: number[] }} Scale */

/**
 * Wide enough for every dot; a whisker or a noise that would go on beyond ends
 * at the edge.
 *
 * @param {FieldResults[]} fields
 * @returns {Scale}
 */
function ratioScale(fields) {
  const all = fields.flatMap(({ routes }) =>
    routes.flatMap(({ toBare, srvxToBare }) => [toBare, srvxToBare])
  ).map(({ median }) => median);
  const tenths = 10 * Math.min(0.9, ...all);
  const least = Math.floor(tenths - 0.1) / 10;
  const most = Math.ceil(10 * Math.max(1.1, ...all) + 0.1) / 10;
  const step = most - least > 0.5 ? 0.2 : 0.1;
  const ticks = [];
  for (let tick = 1; tick >= least; tick -= step) ticks.push(tick);
  for (let tick = 1 + step; tick <= most; tick += step) ticks.push(tick);
  return {
    at: (value) => Math.min(1, Math.max(0, (value - least) / (most - least))),
    ticks,
  };
}

/** @param {FieldResults[]} fields @returns {Scale} */
function timeScale(fields) {
  const all = fields.flatMap(({ idle }) => idle.map(({ exitMs }) => exitMs));
  const most = Math.log10(Math.max(...all.map(({ median }) => median)));
  return { at: (ms) => Math.max(0, Math.log10(ms)) / most, ticks: [] };
}

/** @param {FieldResults[]} fields */
function connectionCounts(fields) {
  return [
    ...new Set(fields.flatMap(({ idle }) => (
      idle.map(({ connections }) => connections)
    ))),
  ];
}

/** @param {number} y @param {string[][]} entries colour and name */
function legend(y, entries) {
  let x = MARGIN;
  return entries.map(([color = "", name = ""]) => {
    const fill = color === "noise" ? "faint" : color;
    const entry =
      `<rect x="${x}" y="${y}" width="12" height="12" rx="2" fill="var(--${fill})"/>\n` +
      text(x + 18, y + 10, name, "quiet");
    x += 34 + name.length * 6.2;
    return entry;
  }).join("\n");
}

/** @param {number} x @param {number} y @param {string} what @param {string} classes */
function text(x, y, what, classes) {
  const is = classes && ` class="${classes}"`;
  return `<text x="${n(x)}" y="${n(y)}"${is}>${what}</text>`;
}

/** @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {string} name */
function line(x1, y1, x2, y2, name) {
  return `<line class="${name}" x1="${n(x1)}" y1="${n(y1)}" x2="${n(x2)}" y2="${
    n(y2)
  }"/>`;
}

/** @param {number} value */
function n(value) {
  return Math.round(value * 10) / 10;
}
