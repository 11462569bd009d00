import { columns, drill, fates, rowOf } from "./data.js";

/** @param {number} n */
export function count(n) {
  return n.toLocaleString("en");
}

/** @param {number} n @param {string} what */
export function several(n, what) {
  return `${count(n)} ${what}${n === 1 ? "" : "s"}`;
}

/** @param {number} ms */
export function duration(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 100 ? ms.toFixed(1) : count(Math.round(ms))} ms`;
}

/** @param {number} ms since the drill began */
export function clock(ms) {
  return `${(ms / 1000).toFixed(3)} s`;
}

/** @param {number} request */
export function requestLine(request) {
  const { method = "", path = "" } =
    drill.options.mix[columns.route[request] ?? 0] ?? {};
  return `${method} ${path}`;
}

/** @param {number} request */
export function fateOf(request) {
  return fates[columns.fate[request] ?? 0] ?? "answered";
}

/** @param {number} request */
export function causeOf(request) {
  return drill.causes[columns.cause[request] ?? 0] ?? "";
}

/** From the moment when it was meant to go. @param {number} request */
export function latencyOf(request) {
  return (columns.ended[request] ?? 0) - (columns.due[request] ?? 0);
}

/** One sentence. @param {number} request */
export function sentence(request) {
  const fate = fateOf(request);
  const cause = causeOf(request);
  const after = `after ${duration(latencyOf(request))}`;
  return fate === "answered"
    ? `answered with ${columns.status[request]} ${after}`
    : `${fate} ${after}: ${cause}`;
}

/** Where a request was in the life of its server. @param {number} request */
export function moment(request) {
  const began = columns.began[request] ?? 0;
  const words = drill.servers.flatMap(({ bands }, index) =>
    bands.filter(({ from, to }) => began >= from && began < to)
      .map(({ name }) => `server ${index + 1} was ${verb(name)}`)
  );
  return words.join("; ") || "no server was running";
}

/** @param {string} phase */
export function verb(phase) {
  return phase === "cleanup" ? "cleaning up" : phase;
}

/** What the detail tells. @param {number} request @returns {[string, string][]} */
export function facts(request) {
  const due = columns.due[request] ?? 0;
  const began = columns.began[request] ?? 0;
  const ended = columns.ended[request] ?? 0;
  const connection = columns.connection[request] ?? -1;
  const nth = columns.nth[request] ?? 0;
  const kept = drill.connections[connection];
  return [
    ["Meant to go at", clock(due)],
    ["Given a connection", `${duration(began - due)} later`],
    ["Over at", clock(ended)],
    [
      "Connection",
      connection < 0
        ? "none was free"
        : `${connection + 1}, in row ${rowOf(request) + 1}`,
    ],
    ["On that connection", nth === 1 ? "the first" : `number ${nth}`],
    [
      "The connection was closed",
      kept ? `at ${clock(kept.closedAt)} by the ${kept.closedBy}` : "",
    ],
    ["At that moment", moment(request)],
  ].filter(([, text]) => text !== "").map((
    [name = "", text = ""],
  ) => [name, text]);
}
