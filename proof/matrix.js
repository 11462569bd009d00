// The matrix of clauses by runtime: what lastcall/CONTRACT.md shows is what the suite saw.

/**
 * @typedef {object} ClauseResult
 * @property {string} clause `D5`
 * @property {string} title
 * @property {boolean} ok
 * @property {boolean} skipped
 * @property {string} [note]
 */

/** @typedef {{ title: string, clauses: ClauseResult[] }} Column */
/** @typedef {{ head: string[], rows: string[][], notes: string[] }} Matrix */

const BEGIN = "<!-- matrix:begin -->";
const END = "<!-- matrix:end -->";

/**
 * Start, drain, force, cleanup, network, limits, hostile clients, wrappers: as in
 * the contract.
 */
const CHAPTERS = "SDFCNLHW";

/** @param {Column[]} columns @returns {Matrix} */
export function matrixOf(columns) {
  // A clause may have tests in several files, each with a title of its own.
  const all = columns.flatMap(({ clauses }) => clauses);
  const titles = [
    ...new Set(all.map(({ clause, title }) => `${clause} ${title}`)),
  ]
    .sort((a, b) =>
      CHAPTERS.indexOf(a.charAt(0)) - CHAPTERS.indexOf(b.charAt(0)) ||
      a.localeCompare(b, "en", { numeric: true })
    );
  const rows = titles.map((name) => {
    const [clause = "", ...words] = name.split(" ");
    const title = words.join(" ");
    return [
      clause,
      title,
      ...columns.map(({ clauses }) => cell(clauses, clause, title)),
    ];
  });
  const order = [...new Set(rows.map(([clause = ""]) => clause))];
  const notes = order.flatMap((clause) => notesOn(clause, columns));
  const head = ["", "Clause", ...columns.map(({ title }) => title)];
  return { head, rows, notes };
}

/** One line per note, with all the columns that it is about. */
/** @param {string} clause @param {Column[]} columns */
function notesOn(clause, columns) {
  /** @type {Map<string, string[]>} */
  const columnsOf = new Map();
  for (const { title, clauses } of columns) {
    const notes = clauses.filter((result) => result.clause === clause)
      .flatMap(({ note }) => note ? [note] : []);
    for (const note of new Set(notes)) {
      columnsOf.set(note, [...columnsOf.get(note) ?? [], title]);
    }
  }
  // In an order of its own: files end in any.
  return [...columnsOf].sort(([a], [b]) => a < b ? -1 : 1).map((
    [note, titles],
  ) =>
    `${clause} on ${
      titles.join(", ").replace(/, ([^,]*)$/, " and $1")
    }: ${note}`
  );
}

/** @param {ClauseResult[]} results @param {string} clause @param {string} title */
function cell(results, clause, title) {
  const mine = results.filter((result) =>
    result.clause === clause && result.title === title
  );
  if (mine.some(({ ok, skipped }) => !ok && !skipped)) return "**no**";
  return mine.some(({ skipped }) => !skipped) ? "yes" : "-";
}

/** As Markdown, in the shape that `deno fmt` leaves alone. @param {Matrix} matrix */
export function renderMatrix({ head, rows, notes }) {
  const lines = [head, ...rows].map((cells) =>
    cells.map((text) => text.replaceAll("|", "\\|"))
  );
  const widths = head.map((_, column) =>
    Math.max(...lines.map((cells) => cells[column]?.length ?? 0))
  );
  const [first = "", ...rest] = lines.map((cells) =>
    `| ${widths.map((w, i) => (cells[i] ?? "").padEnd(w)).join(" | ")} |`
  );
  const rule = `| ${widths.map((w) => "-".repeat(w)).join(" | ")} |`;
  const list = notes.length
    ? ["", ...notes.map((note) => wrap(`- ${note}`))]
    : [];
  return [first, rule, ...rest, ...list].join("\n");
}

/** @param {string} item of a list */
function wrap(item) {
  const lines = [""];
  for (const word of item.split(" ")) {
    const line = lines.at(-1) ? `${lines.at(-1)} ${word}` : word;
    if (line.length <= 80) lines[lines.length - 1] = line;
    else lines.push(`  ${word}`);
  }
  return lines.join("\n");
}

/**
 * The text with `table` between its marks; undefined where it has no marks.
 *
 * @param {string} text
 * @param {string} table
 */
export function replaceMatrix(text, table) {
  const begin = text.indexOf(BEGIN), end = text.indexOf(END);
  if (begin < 0 || end < begin) return undefined;
  return `${text.slice(0, begin)}${BEGIN}\n\n${table}\n\n${text.slice(end)}`;
}
