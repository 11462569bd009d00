/**
 * What became of a request. README.md beside it has these definitions for people.
 *
 * @typedef {"answered" | "refused" | "dropped" | "raced" | "wrong status" | "timed out"} Fate
 */

/** @type {Fate[]} */
export const FATES = [
  "answered",
  "refused",
  "dropped",
  "raced",
  "wrong status",
  "timed out",
];

/** The fates of which a summary names each request. */
/** @type {Fate[]} */
export const LOST = ["dropped", "raced", "wrong status", "timed out"];

/**
 * What the client knows of a request once it is over. Times in milliseconds.
 *
 * @typedef {object} Evidence
 * @property {number} earlier answers that its connection had brought before
 * @property {number} connectMs what connecting took: about one round trip
 * @property {string} [unconnected] why there was no connection: the system's code
 * @property {number} [writtenAt] when it was handed to the connection
 * @property {boolean} sent the system has taken its last byte
 * @property {number} bytes of an answer
 * @property {number} [status] of an answer that came whole
 * @property {string} [said] how its body begins, where the status is a wrong one
 * @property {"answer" | "end" | "reset" | "timeout" | "noise"} ending
 *   "end" is a clean one (FIN), "reset" is not (RST)
 * @property {boolean} [unread] after a clean end: the request met a connection
 *   that was closed already. Then its bytes were answered by a reset; had the
 *   server read them before it closed, there would have been none.
 * @property {string} [noise] what came in place of an answer
 * @property {number} endedAt
 */

const REFUSED = "ECONNREFUSED";
/** It had come about, and was gone before we knew; Bun's may just close. */
const RESET = ["ECONNRESET", "ECONNABORTED", "EPIPE", "closed"];
/** The network's word, which a client would hear as well. */
const UNREACHED = ["EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "EHOSTDOWN"];

/**
 * Why the drill could not connect, where the fault is its own: then it has
 * nothing to tell of the server. A code that nobody has thought of is one too,
 * for a refusal may be no reason to fail.
 *
 * @param {Evidence} evidence
 * @returns {string | undefined}
 */
export function ownTrouble({ unconnected: code }) {
  if (code === undefined || [REFUSED, ...RESET, ...UNREACHED].includes(code)) {
    return undefined;
  }
  const remedy = ["EMFILE", "ENFILE"].includes(code)
    ? "raise the limit of open files (ulimit -n), or give fewer --connections"
    : ["ENOTFOUND", "EAI_AGAIN"].includes(code)
    ? "check the name in --target"
    : "if this machine has run out of local ports, give fewer --connections " +
      "or a lower --rate";
  return `The drill itself could not connect (${code}), which tells nothing ` +
    `of the server; ${remedy}.`;
}

/** A reset this soon after the sending crossed it on the way. */
const MOMENT = 20;

/**
 * @param {Evidence} evidence
 * @returns {{ fate: Fate, cause: string }} the cause is a sentence's end, empty
 *   where the fate says it all
 */
export function judge(evidence) {
  const { earlier, connectMs, unconnected, sent, bytes, ending } = evidence;
  if (ending === "answer") {
    const { status = 0 } = evidence;
    return status < 400
      ? { fate: "answered", cause: "" }
      : { fate: "wrong status", cause: `answered with ${status}` };
  }
  if (ending === "timeout") {
    const cause = evidence.writtenAt === undefined
      ? "no connection came about"
      : bytes === 0
      ? "not a byte of an answer came"
      : `only ${bytes} bytes of the answer came`;
    return { fate: "timed out", cause };
  }
  if (unconnected !== undefined && !RESET.includes(unconnected)) {
    const cause = unconnected === REFUSED
      ? "nobody was listening"
      : `no connection came about (${unconnected})`;
    return { fate: "refused", cause };
  }
  if (ending === "noise") {
    return {
      fate: "dropped",
      cause: `what came is no HTTP/1.1 response: ${evidence.noise}`,
    };
  }
  if (bytes > 0) {
    const how = ending === "end" ? "ended" : "was reset";
    const cause = `the connection ${how} after ${bytes} bytes of the answer`;
    return { fate: "dropped", cause };
  }

  const first = earlier === 0;
  if (ending === "reset" && first) {
    return { fate: "dropped", cause: UNACCEPTED };
  }
  if (ending === "end" && evidence.unread) {
    return first
      ? { fate: "dropped", cause: UNUSED }
      : { fate: "raced", cause: "the kept connection had just been closed" };
  }
  if (!first && !sent) {
    return { fate: "raced", cause: "the kept connection closed before it" };
  }
  if (ending === "end") {
    return { fate: "dropped", cause: "it was read, and never answered" };
  }
  const after = evidence.endedAt - (evidence.writtenAt ?? evidence.endedAt);
  return after <= MOMENT + connectMs
    ? { fate: "raced", cause: "the kept connection was reset in that moment" }
    : {
      fate: "dropped",
      cause: "the connection was reset in place of an answer",
    };
}

/**
 * The system had accepted the connection, the server had not: such are reset
 * when a listener closes.
 */
export const UNACCEPTED =
  "a new connection was reset, most likely in the accept queue";

/** Accepted, and closed before anything was read. */
export const UNUSED = "a new connection was closed unused";
