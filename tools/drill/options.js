import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { parseArgs } from "node:util";
import { headerFault, headerOf, parseMix } from "./mix.js";
import { LARGEST_BODY, readRequests } from "./requests.js";
import { splitWords } from "./words.js";

/** @import { Route } from "./mix.js" */

/**
 * @typedef {object} Options
 * @property {string[]} command the words of the server's command line
 * @property {{ host: string, port: number } | undefined} target
 * @property {string[]} signalCommand its words, with a target
 * @property {number} rate requests a second
 * @property {number} connections
 * @property {Route[]} mix
 * @property {[name: string, value: string][]} headers
 * @property {Uint8Array | undefined} body of a POST, PUT or PATCH
 * @property {number} restarts
 * @property {number} between milliseconds
 * @property {boolean} overlap
 * @property {NodeJS.Signals} signal
 * @property {number} timeout milliseconds
 * @property {number} maxDropped
 * @property {number} maxRaced
 * @property {string | undefined} json
 * @property {string} html
 */

export const HELP =
  `drill: what a deploy does to your clients, as a picture and an exit code

Starts a server, sends it requests at a steady rate, signals it, starts it
again, and tells what became of every request.

  --command "CMD"      the server, by default this template; no shell in
                       between. PORT tells it its port, or {port} in the command
  --overlap            start the next one before the signal; it is told to share
                       the port by REUSE_PORT=true
  --target URL         drill what is running already, http:// only, with
  --signal-command "CMD"  what restarts it; has to return when the restart is
                       over, and within 10 minutes

  --rate N             requests a second (200)
  --connections N      kept connections to send them on (20)
  --mix "M PATH N, …"  what to ask for, and how often ("GET /")
  --requests FILE      ... or from a file: a list of requests, or a browser's HAR
  --header "NAME: VALUE"  one more header of each request; may be repeated
  --body TEXT          of each POST, PUT and PATCH, or @FILE ('{"drill":true}',
                       which is said to be JSON)
  --restarts N         (3)
  --between SECONDS    from one restart to the next (3)
  --signal NAME        (SIGTERM)
  --timeout SECONDS    how long a client waits for its answer (10)

  --max-dropped N      exit 1 if more requests than that were dropped, timed
                       out or got a wrong status (0)
  --max-raced N        exit 1 if more requests than that were raced (no limit)
                       With --overlap or --target, also if one was refused:
                       somebody should listen all the time
  --json FILE          the summary, for programs
  --html FILE          the picture (drill.html)

Exit code 0: within the limits; 1: not, or a server that did not start, ended by
itself or had to be killed; 78: the options are wrong, or a file cannot be
written.
`;

const text = /** @type {const} */ ({ type: "string" });
const texts = /** @type {const} */ ({ type: "string", multiple: true });
const flag = /** @type {const} */ ({ type: "boolean" });
const OPTIONS = {
  command: text,
  overlap: flag,
  target: text,
  "signal-command": text,
  rate: text,
  connections: text,
  mix: text,
  requests: text,
  header: texts,
  body: text,
  restarts: text,
  between: text,
  signal: text,
  timeout: text,
  "max-dropped": text,
  "max-raced": text,
  json: text,
  html: text,
  help: flag,
};

/** Seconds: nobody drills for longer than a day. */
const LONGEST = 86_400;

/**
 * @param {string[]} args
 * @param {string[]} ownCommand what is drilled where nothing is said
 * @returns {{ ok: true, options: Options | "help" } | { ok: false, problems: string[] }}
 */
export function readOptions(args, ownCommand) {
  /** @type {string[]} */
  const problems = [];
  const { values, tokens } = parseArgs({
    args: separated(args),
    // Each wrong one is to be told in our words, and all of them at once.
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: OPTIONS,
  });
  if (values.help === true) return { ok: true, options: "help" };

  for (const token of tokens) {
    if (token.kind === "positional") {
      problems.push(
        `${JSON.stringify(token.value)} stands alone; expected options only. ` +
          "Put a command of several words in quotes.",
      );
    } else if (token.kind === "option") {
      const type = new Map(Object.entries(OPTIONS)).get(token.name)?.type;
      if (!type) {
        problems.push(`${token.rawName} is no option; --help lists them.`);
      } else if (type === "boolean" && token.value !== undefined) {
        problems.push(`${token.rawName} takes no value.`);
      } else if (type === "string" && !token.value) {
        problems.push(`${token.rawName} has no value; --help tells of each.`);
      }
    }
  }

  /** @param {string} name */
  const given = (name) => {
    const value = values[/** @type {keyof typeof values} */ (name)];
    return typeof value === "string" && value ? value : undefined;
  };
  /** @param {string} name @param {string} expected */
  const wrong = (name, expected) => {
    const value = JSON.stringify(given(name));
    problems.push(`--${name} is ${value}; expected ${expected}.`);
  };

  /** @param {string} name @param {number} fallback @param {number} least @param {number} most */
  const wholeNumber = (name, fallback, least, most) => {
    const value = given(name);
    if (value === undefined) return fallback;
    const number = /^\d+$/.test(value) ? Number(value) : NaN;
    if (number >= least && number <= most) return number;
    wrong(name, `a whole number from ${least} to ${most}`);
    return fallback;
  };
  /** @param {string} name @param {number} fallback */
  const seconds = (name, fallback) => {
    const value = given(name);
    if (value === undefined) return fallback * 1000;
    const number = /^\d+(\.\d+)?$/.test(value) ? Number(value) : NaN;
    if (number > 0 && number <= LONGEST) return number * 1000;
    wrong(name, `seconds, such as 2.5, up to ${LONGEST}`);
    return fallback * 1000;
  };
  /** @param {string} name @param {string[]} fallback */
  const words = (name, fallback) => {
    const value = given(name);
    if (value === undefined) return fallback;
    const split = splitWords(value);
    if (split.ok) return split.words;
    problems.push(`--${name} ${split.why}.`);
    return fallback;
  };

  const mixes = tokens.filter((token) =>
    token.kind === "option" && token.name === "mix"
  );
  if (mixes.length > 1) {
    problems.push(
      `--mix is given ${mixes.length} times; expected one with all the ` +
        'routes, such as "GET / 80, POST /x 20".',
    );
  }
  const mix = parseMix(given("mix") ?? "GET /");
  if (!mix.ok) {
    problems.push(
      `--mix ${mix.why}; expected a method, a path and how often, separated ` +
        'by commas, such as "GET / 80, POST /x 20".',
    );
  }
  const file = given("requests");
  const requests = file === undefined ? undefined : readRequests(file);
  if (requests && !requests.ok) problems.push(`--requests ${requests.why}.`);
  const headers = [values.header ?? []].flat().flatMap((line) => {
    const fault = headerFault(String(line));
    if (!fault) return [headerOf(String(line))];
    // One without a value has been told of.
    if (line) problems.push(`--header ${fault}.`);
    return [];
  });
  const body = readBody(given("body"));
  if (!body.ok) problems.push(`--body ${body.why}.`);
  const signal = given("signal") ?? "SIGTERM";
  if (!(signal in constants.signals)) wrong("signal", "a name such as SIGINT");

  const targetText = given("target");
  const target = targetText === undefined ? undefined : readTarget(targetText);
  if (targetText !== undefined && !target) {
    wrong("target", "an http:// address alone, such as http://10.0.0.7:8080");
  }
  if (targetText !== undefined && !given("signal-command")) {
    problems.push(
      "--target is given without --signal-command; expected the command that " +
        "restarts what is running there.",
    );
  }
  for (const [name, other] of CONFLICTS) {
    if (values[name] === undefined || values[other] === undefined) continue;
    problems.push(`--${name} and --${other} do not go together; choose one.`);
  }
  if (given("signal-command") && targetText === undefined) {
    problems.push(
      "--signal-command is given without --target; expected both, or --command " +
        "alone.",
    );
  }

  const options = {
    command: words("command", ownCommand),
    target,
    signalCommand: words("signal-command", []),
    rate: wholeNumber("rate", 200, 1, 100_000),
    connections: wholeNumber("connections", 20, 1, 10_000),
    mix: requests?.ok ? requests.routes : mix.ok ? mix.routes : [],
    headers,
    body: body.ok ? body.body : undefined,
    restarts: wholeNumber("restarts", 3, 1, 10_000),
    between: seconds("between", 3),
    overlap: values.overlap === true,
    signal: /** @type {NodeJS.Signals} */ (signal),
    timeout: seconds("timeout", 10),
    maxDropped: wholeNumber("max-dropped", 0, 0, Number.MAX_SAFE_INTEGER),
    maxRaced: wholeNumber("max-raced", Infinity, 0, Number.MAX_SAFE_INTEGER),
    json: given("json"),
    html: given("html") ?? "drill.html",
  };
  return problems.length === 0
    ? { ok: true, options }
    : { ok: false, problems };
}

const CONFLICTS = /** @type {const} */ ([
  ["target", "command"],
  ["target", "overlap"],
  ["target", "signal"],
  ["requests", "mix"],
  ["requests", "body"],
]);

/**
 * parseArgs would take the next option for the value that an option lacks. And
 * `deno task drill -- --rate 5` hands on its "--", as npm does not.
 *
 * @param {string[]} args
 */
function separated(args) {
  const own = args[0] === "--" ? args.slice(1) : args;
  const withValue = Object.entries(OPTIONS)
    .filter(([, { type }]) => type === "string").map(([name]) => `--${name}`);
  return own.map((arg, i) =>
    withValue.includes(arg) && own[i + 1]?.startsWith("--") ? `${arg}=` : arg
  );
}

/**
 * @param {string | undefined} text
 * @returns {{ ok: true, body: Uint8Array | undefined } | { ok: false, why: string }}
 */
function readBody(text) {
  if (text === undefined) return { ok: true, body: undefined };
  let body;
  try {
    body = text.startsWith("@")
      ? readFileSync(text.slice(1))
      : new TextEncoder().encode(text);
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    return { ok: false, why: `names a file that cannot be read: ${message}` };
  }
  return body.length <= LARGEST_BODY ? { ok: true, body } : {
    ok: false,
    why: `has ${body.length} bytes; expected up to ${LARGEST_BODY}`,
  };
}

/** @param {string} text */
function readTarget(text) {
  if (!URL.canParse(text)) return undefined;
  const { protocol, host, hostname, port, href } = new URL(text);
  // Whatever else an address may hold would go unheard.
  if (protocol !== "http:" || href !== `http://${host}/` || port === "0") {
    return undefined;
  }
  return {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port ? Number(port) : 80,
  };
}
