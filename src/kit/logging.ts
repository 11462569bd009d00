import { AsyncLocalStorage } from "node:async_hooks";
import {
  configureSync,
  getAnsiColorFormatter,
  getLogger,
  getTextFormatter,
  type LogRecord,
  type TextFormatter,
} from "@logtape/logtape";
import {
  type Log,
  type LogEntry,
  lossOf,
  type Lost,
  type Output,
} from "#lastcall";
import { summaryOf } from "./report.ts";
import type { Answered } from "./requests.ts";

export interface LoggingOptions {
  level: LogEntry["level"];
  /** Lines for people; otherwise JSON, for collectors. */
  pretty: boolean;
  colors: boolean;
  /** Where lines go. */
  print: Output["write"];
}

export interface OpenLog {
  /** The engine's way into the same log. */
  log: Log;
  /** Writes the access lines that wait; every other line does so too. */
  flush: () => void;
}

/** How long an access line may wait for others, in milliseconds. */
const PATIENCE = 50;
/** And for how many, in characters: they are dropped together, if at all. */
const BATCH = 64 * 1024;

/** What is logged while a request is served carries its id. */
const context = new AsyncLocalStorage<Record<string, unknown>>();

/** As LogTape's `withContext`, which looks for a context around this one. */
export function withRequestId<T>(requestId: string, act: () => T): T {
  return context.run({ requestId }, act);
}

let access: ((request: Answered) => void) | undefined;

/** One access line per request. */
export function logRequest(request: Answered): void {
  access?.(request);
}

/**
 * Sets LogTape up, for `getLogger("orders").info("order placed", { id })`
 * anywhere.
 */
export function openLog(
  { level, pretty, colors, print: write }: LoggingOptions,
): OpenLog {
  const format = !pretty ? json : colors ? coloured : plain;
  const lowestLevel = level === "warn" ? "warning" : level;
  const describeLost = (lost: Lost) => {
    const { level: _, message, ...properties } = lossOf(lost);
    return format({
      timestamp: Date.now(),
      level: "warning",
      category: ["server"],
      message: [message],
      rawMessage: message,
      properties,
    });
  };
  const print = (lines: string) => write(lines, describeLost);
  // A write for each request would cost more than the request; so access lines
  // go out together, and before any other line. The report flushes the last.
  let waiting: string[] = [];
  let size = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (waiting.length === 0) return;
    const lines = waiting.join("\n");
    waiting = [];
    size = 0;
    print(lines);
  };
  const together = (line: string) => {
    waiting.push(line);
    size += line.length;
    if (size > BATCH) flush();
    else timer ??= setTimeout(flush, PATIENCE);
  };
  configureSync({
    reset: true,
    contextLocalStorage: context,
    sinks: {
      stdout: (record) => {
        flush();
        print(format(record));
      },
      together: (record) => together(format(record)),
    },
    loggers: [
      { category: [], sinks: ["stdout"], lowestLevel },
      {
        category: "access",
        sinks: ["together"],
        parentSinks: "override",
        lowestLevel,
      },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  });
  const logger = getLogger("access");
  const line = accessLines();
  access = !logger.isEnabledFor("info")
    ? undefined
    : pretty
    ? (request) => logger.info(ANSWERED, { ...request })
    : (request) => together(line(request));
  const server = getLogger("server");
  const log: Log = ({ level, message, ...fields }) =>
    server[level](message.replaceAll("{", "{{").replaceAll("}", "}}"), fields);
  return { log, flush };
}

/** The line of the engine's own `jsonLog`, and who wrote it. */
function json({ timestamp, level, category, message, properties }: LogRecord) {
  const head = {
    time: new Date(timestamp).toISOString(),
    level: level === "warning" ? "warn" : level,
    logger: category.join("."),
    message: message.join(""),
  };
  // The head comes first, and no field of the same name may replace it.
  return stringify(Object.assign({ ...head, ...properties }, head));
}

const ANSWERED = "request answered";

/**
 * The line that `json` makes of a request, without LogTape's record of it, which
 * costs more than the request. The time is formatted once a millisecond.
 */
function accessLines(): (request: Answered) => string {
  let now = 0;
  let head = "";
  return ({ requestId, client, method, route, path, status, ms, bytes }) => {
    const then = Date.now();
    if (then !== now) {
      now = then;
      const time = new Date(now).toISOString();
      head = `{"time":"${time}","level":"info","logger":"access",` +
        `"message":"${ANSWERED}","requestId":`;
    }
    return `${head}${quoted(requestId)}` +
      (client === undefined ? "" : `,"client":${quoted(client)}`) +
      `,"method":${quoted(method)}` +
      (route === undefined ? "" : `,"route":${quoted(route)}`) +
      `,"path":${quoted(path)},"status":${status},"ms":${ms}` +
      (bytes === undefined ? "}" : `,"bytes":${bytes}}`);
  };
}

/** Nothing in most strings needs an escape, and to look is cheaper. */
function quoted(text: string): string {
  return /^[ !#-[\]-~]*$/.test(text) ? `"${text}"` : stringify(text);
}

const plain = forPeople(getTextFormatter);
const coloured = forPeople(getAnsiColorFormatter);

function forPeople(formatter: typeof getTextFormatter): TextFormatter {
  const format = formatter({
    timestamp: "time",
    timeZone: null,
    level: (level) => level === "warning" ? "WARN" : level.toUpperCase(),
    value: "bare",
    sanitize: { sgr: "escape", newlines: "escape" },
    format: ({ timestamp, level, message, record }) => {
      const { category, properties, rawMessage } = record;
      const { stack, ...fields } = properties;
      // Its fields are many; a person wants to know whether all is well.
      if (category[0] === "server" && rawMessage === "shutdown finished") {
        const summary = stringify(summaryOf(fields as never)).slice(1, -1);
        return `${timestamp} ${level.padEnd(5)} ${summary}`;
      }
      const rest = Object.entries(fields)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) =>
          ` ${stringify(name, true)}=${stringify(value, true)}`
        );
      return `${timestamp} ${level.padEnd(5)} ${message}${rest.join("")}` +
        (typeof stack === "string" ? `\n${indented(stack)}` : "");
    },
  });
  return (record) => seen(format(record).trimEnd());
}

/** A value on one line; a bare word without quotes, for people. */
function stringify(value: unknown, bare = false): string {
  if (bare && typeof value === "string" && /^[\w.:/@+-]+$/.test(value)) {
    return value;
  }
  try {
    // A replacer costs as much as all the rest, and most lines need none.
    const text = isFlat(value)
      ? JSON.stringify(value)
      : JSON.stringify(value, writable);
    return seen(text ?? String(value));
  } catch {
    // Something in it holds itself: the fields that do not are written.
    return seen(JSON.stringify(value, (key, part) => {
      if (key === "") return part;
      try {
        return JSON.parse(JSON.stringify(part, writable) ?? "null");
      } catch {
        return String(part);
      }
    }));
  }
}

function isFlat(value: unknown): boolean {
  if (typeof value !== "object" || value === null) {
    return typeof value !== "bigint";
  }
  for (const key in value) {
    const part = (value as Record<string, unknown>)[key];
    if (typeof part === "object" && part !== null || typeof part === "bigint") {
      return false;
    }
  }
  return !(value instanceof Error);
}

function seen(text: string): string {
  return text.replace(
    UNSEEN,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What JSON leaves as it is, and a terminal or an editor does not: C1, bidi. */
const UNSEEN = /[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

function writable(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  return { name, message, stack, cause };
}

function indented(stack: string): string {
  return stack.split("\n").map((line) =>
    `    ${JSON.stringify(line.trim()).slice(1, -1)}`
  ).join("\n");
}
