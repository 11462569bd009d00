import type { InFlight } from "../runtimes/runtime.ts";
import { toError } from "./errors.ts";
import type { Log } from "./log.ts";

export type Phase =
  | "starting"
  | "serving"
  | "draining"
  | "closing"
  | "cleanup"
  | "closed";

export interface ShutdownReport {
  reason: string;
  outcome: "clean" | "timeout" | "forced" | "failed";
  exitCode: number;
  phases: { phase: Phase; ms: number }[];
  requests: {
    /** When the shutdown began. */
    inFlight: number;
    /** Answered since then. */
    completed: number;
    cut: CutRequest[];
  };
  /** WebSockets: open when the shutdown began, and cut at its deadline. */
  sockets: { open: number; cut: number };
  hooks: WorkRecord[];
  jobs: WorkRecord[];
  waitUntil: WorkRecord[];
  errors: Error[];
}

export interface CutRequest {
  method: string;
  path: string;
  ageMs: number;
}

export interface WorkRecord {
  name: string;
  ms: number;
  error?: string;
}

/** What the report calls the work of each kind. */
const lists = { job: "jobs", waitUntil: "waitUntil", hook: "hooks" } as const;
export type WorkKind = keyof typeof lists;

/** The report while it is being written: what goes wrong is also logged at once. */
export class Draft {
  reason = "";
  readonly phases: ShutdownReport["phases"] = [];
  readonly requests: ShutdownReport["requests"] = {
    inFlight: 0,
    completed: 0,
    cut: [],
  };
  readonly sockets = { open: 0, cut: 0 };
  readonly hooks: WorkRecord[] = [];
  readonly jobs: WorkRecord[] = [];
  readonly waitUntil: WorkRecord[] = [];
  readonly errors: Error[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  record(kind: WorkKind, record: WorkRecord): void {
    this[lists[kind]].push(record);
  }

  /** What the error says. */
  blame(kind: string, name: string, error: unknown): string {
    this.errors.push(toError(error));
    return this.logFailure(kind, name, error);
  }

  /** Not in the report: it cost one request, or came after the end. */
  logFailure(kind: string, name: string, cause: unknown): string {
    const { message: error, stack } = toError(cause);
    this.#log({
      level: "error",
      message: `${kind} failed`,
      name,
      error,
      stack,
    });
    return error;
  }

  /** Whether it did not fail; if it did, that is in the report. */
  async attempt(name: string, act: () => unknown): Promise<boolean> {
    try {
      await act();
      return true;
    } catch (error) {
      this.blame("server", name, error);
      return false;
    }
  }

  timedOut(kind: WorkKind, record: WorkRecord): void {
    const { name } = record;
    record.error = "timed out";
    this.errors.push(new Error(`${kind} ${name} timed out`));
    this.#log({ level: "error", message: `${kind} timed out`, name });
  }

  cutRequests(requests: CutRequest[]): void {
    this.requests.cut = requests;
    for (const request of requests) {
      this.#log({ level: "warn", message: "request cut", ...request });
    }
  }

  cutSockets(count: number): void {
    this.sockets.cut = count;
    if (count > 0) this.#log({ level: "warn", message: "sockets cut", count });
  }

  /** The last line of the log. */
  finish(isForced: boolean, isLate: boolean): ShutdownReport {
    const outcome = isForced
      ? "forced"
      : isLate
      ? "timeout"
      : this.errors.length > 0
      ? "failed"
      : "clean";
    const exitCode = outcome === "clean" ? 0 : 1;
    const report: ShutdownReport = {
      reason: this.reason,
      outcome,
      exitCode,
      phases: this.phases,
      requests: this.requests,
      sockets: this.sockets,
      hooks: this.hooks,
      jobs: this.jobs,
      waitUntil: this.waitUntil,
      errors: this.errors,
    };
    this.#log({
      level: exitCode === 0 ? "info" : "error",
      message: "shutdown finished",
      ...report,
      errors: report.errors.map((error) => error.message),
    });
    return report;
  }
}

/** Who is to blame, without what a query string may give away. */
export function toCutRequest(
  { method, url, since }: InFlight,
  now: number,
): CutRequest {
  // Absolute (Deno: http+unix) or not: the path begins at the first slash after
  // the authority.
  const path = url.replace(/^[a-z+]+:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "");
  const ageMs = Math.max(0, Math.round(now - since));
  return { method, path: path || "/", ageMs };
}
