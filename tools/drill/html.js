import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FATES } from "./fate.js";

/** @import { Drill } from "./drill.js" */

/** In the order in which they build on each other. */
const SCRIPTS = [
  "data.js",
  "words.js",
  "view.js",
  "paint.js",
  "figures.js",
  "main.js",
];

/** In the command that is one file, the page is in it. */
const built =
  /** @type {{ DRILL_PAGE?: Record<string, string> }} */ (globalThis)
    .DRILL_PAGE;

/**
 * The drill as one page that needs nothing else.
 *
 * @param {Drill} drill
 * @param {string} folder where the page's parts are
 */
export function renderHtml(
  drill,
  folder = join(import.meta.dirname, "page"),
) {
  /** @param {string} file */
  const read = (file) =>
    built?.[file] ?? readFileSync(join(folder, file), "utf8");
  const data = JSON.stringify(packed(drill)).replaceAll("<", "\\u003c");
  const script = SCRIPTS.map((file) => asPart(read(file))).join("\n");
  /** @type {[RegExp, string][]} */
  const parts = [
    [/(?<=<title>)Drill(?=<)/, `Drill: ${escape(drill.what)}`],
    [/<link rel="stylesheet"[^>]*>/, `<style>\n${read("page.css")}</style>`],
    [/(?<=id="data">)[^<]*/, data],
    [
      /<script type="module"[^>]*><\/script>/,
      `<script type="module">\n${script}</script>`,
    ],
  ];
  let page = read("page.html");
  for (const [mark, part] of parts) {
    if (!mark.test(page)) throw new Error(`page.html has no ${mark}`);
    page = page.replace(mark, () => part);
  }
  return page;
}

/** One script holds all the modules, so their imports are there already. */
/** @param {string} source */
function asPart(source) {
  return source.replace(/^import [^;]*;\n/gm, "").replace(/^export /gm, "");
}

/**
 * What the page reads: requests by columns, for there may be many.
 *
 * @typedef {ReturnType<typeof packed>} Packed
 */

/** @param {Drill} drill */
function packed({ requests, ...drill }) {
  const causes = [...new Set(requests.map(({ cause }) => cause))];
  const indexOf = new Map(causes.map((cause, index) => [cause, index]));
  const sorted = requests.toSorted((a, b) => a.began - b.began);
  return {
    ...drill,
    fates: FATES,
    causes,
    columns: {
      due: sorted.map(({ due }) => due),
      began: sorted.map(({ began }) => began),
      ended: sorted.map(({ ended }) => ended),
      route: sorted.map(({ route }) => route),
      connection: sorted.map(({ connection }) => connection),
      nth: sorted.map(({ nth }) => nth),
      status: sorted.map(({ status }) => status),
      fate: sorted.map(({ fate }) => FATES.indexOf(fate)),
      cause: sorted.map(({ cause }) => indexOf.get(cause) ?? 0),
    },
  };
}

/** @param {string} text */
function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
}
