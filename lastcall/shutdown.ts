import { type Clock, systemClock } from "./clock.ts";
import type { Log, LogEntry } from "./log.ts";

export type Phase =
  | "starting"
  | "serving"
  | "draining"
  | "closing"
  | "cleanup"
  | "closed";

/** All times in milliseconds. */
export interface ShutdownOptions {
  /** Keep accepting after readiness turned red. Default 0. */
  drainDelay?: number;
  /** A recently used idle connection may bring one more request. Default 250. */
  idleGrace?: number;
  /** Let in-flight work finish, from the closing of the listener. Default 10,000. */
  drainTimeout?: number;
  /** Jobs, waitUntil and hooks together. Default 5,000. */
  cleanupTimeout?: number;
  /** How many WebSockets are closed at once, every 100 ms. Default 1,000. */
  socketBatch?: number;
  /** Where the log lines go. Default: JSON lines on stdout. */
  log?: Log;
}

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

/** What `serve` hands to the controller: one server, and no way to begin. */
export interface Drainable {
  inFlight(): CutRequest[];
  countAnswers(): void;
  answered(): number;
  openSockets(): number;
  close(idleGrace: number): Promise<void>;
  cut(): Promise<void>;
}

/** Work that goes on beside the requests: a job, or what waitUntil was given. */
interface Work {
  kind: "job" | "waitUntil";
  began: number;
  record: WorkRecord;
  settled: Promise<void>;
}

/** How a wait ended. */
type Waited = "done" | "deadline" | "forced";

/** What the hooks still get after a deadline struck or a force. */
const LAST_CHANCE = 1000;

/**
 * The one shutdown controller of a process.
 *
 * Whoever holds the controller can begin a shutdown; whoever holds only its
 * `signal` can hear of one, and nothing else.
 */
export class ShutdownController {
  readonly finished: Promise<ShutdownReport>;

  #phase: Phase = "starting";
  #enteredAt: number;
  readonly #options: Required<ShutdownOptions>;
  readonly #clock: Clock;
  readonly #began = new AbortController();
  readonly #stopJobs = new AbortController();
  readonly #forced = deferred<void>();
  #forcedAt: number | undefined;
  #deadlineStruck = false;
  readonly #finish = deferred<ShutdownReport>();
  readonly #servers = new Set<Drainable>();
  readonly #hooks: { name: string; close: () => unknown }[] = [];
  readonly #work = new Set<Work>();
  readonly #report: Omit<ShutdownReport, "outcome" | "exitCode"> = {
    reason: "",
    phases: [],
    requests: { inFlight: 0, completed: 0, cut: [] },
    sockets: { open: 0, cut: 0 },
    hooks: [],
    jobs: [],
    waitUntil: [],
    errors: [],
  };

  constructor(
    options: ShutdownOptions & { log: Log },
    clock: Clock = systemClock,
  ) {
    this.#options = {
      drainDelay: options.drainDelay ?? 0,
      idleGrace: options.idleGrace ?? 250,
      drainTimeout: options.drainTimeout ?? 10_000,
      cleanupTimeout: options.cleanupTimeout ?? 5_000,
      socketBatch: options.socketBatch ?? 1_000,
      log: guarded(options.log),
    };
    refuseNoTime(this.#options);
    this.#clock = unfailing(
      clock,
      (error) => void this.#blame("clock", "system", error),
    );
    this.#enteredAt = this.#clock.now();
    this.finished = this.#finish.promise;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Aborts the moment shutdown begins; its reason says why. */
  get signal(): AbortSignal {
    return this.#began.signal;
  }

  /** @internal */
  get clock(): Clock {
    return this.#clock;
  }

  /** @internal */
  get socketBatch(): number {
    return this.#options.socketBatch;
  }

  get log(): Log {
    return this.#options.log;
  }

  /** Begins the shutdown; every further call returns the same promise. */
  begin(reason = "asked to stop"): Promise<ShutdownReport> {
    if (!this.signal.aborted) {
      this.#report.reason = reason;
      this.log({ level: "info", message: "shutdown began", reason });
      // The phase moves first: a handler woken by the signal that asks for
      // readiness must already find it red.
      this.#enter("draining");
      this.#began.abort(
        new DOMException(
          `The server is shutting down: ${reason}`,
          "AbortError",
        ),
      );
      this.#run();
    }
    return this.finished;
  }

  /** Begins the shutdown because of an error: it is in the report, exit 1. */
  fail(error: unknown, reason = "an error"): Promise<ShutdownReport> {
    this.#report.errors.push(toError(error));
    return this.begin(reason);
  }

  /** Cuts what is left, now. Hooks get one last short chance. */
  force(reason = "asked to stop at once"): void {
    if (this.#forcedAt !== undefined || this.#phase === "closed") return;
    this.#forcedAt = this.#clock.now();
    this.begin(reason);
    this.log({ level: "warn", message: "shutdown forced", reason });
    this.#forced.resolve();
  }

  /** Says how a resource closes. Hooks run last registered first. */
  onClose(name: string, close: () => unknown): void {
    if (this.#phase !== "closed") {
      this.#hooks.push({ name, close });
      return;
    }
    // Opened too late to be closed in its turn (a slow connect that outlived
    // its deadline): closed on the spot, for nobody else will.
    invoke(close).catch((error) => this.#logFailure("hook", name, error));
  }

  /**
   * Background work: runs at once, is told to stop through its signal after the
   * last request, and is awaited. A job that fails shuts the server down.
   */
  job(name: string, run: (signal: AbortSignal) => Promise<void>): void {
    const { signal } = this.#stopJobs;
    if (signal.aborted) return;
    this.#track("job", name, invoke(() => run(signal)), (error) => {
      if (signal.aborted && isAbort(error)) return;
      const message = this.#blame("job", name, error);
      this.begin(`job ${name} failed`);
      return message;
    });
  }

  /** Work that outlives its response: awaited before the hooks run. */
  waitUntil(work: Promise<unknown>, name = "work"): void {
    this.#track("waitUntil", name, work, (error) => {
      // While serving this is one request's misfortune, not the server's.
      if (this.signal.aborted) return this.#blame("waitUntil", name, error);
      this.#logFailure("waitUntil", name, error);
    });
  }

  /** How many requests are being served right now, as far as is known. */
  get inFlight(): number {
    return sum([...this.#servers], (server) => server.inFlight().length);
  }

  /** How many WebSockets are open. */
  get openSockets(): number {
    return sum([...this.#servers], (server) => server.openSockets());
  }

  /** @internal For `serve`: a server that shutdown will drain. */
  attach(server: Drainable): void {
    this.#servers.add(server);
    if (this.#phase === "starting") this.#enter("serving");
  }

  /** Whatever throws on the way is an error in the report, which always comes. */
  async #run(): Promise<void> {
    await this.#attempt("drain", () => this.#drain());
    this.#enter("cleanup");
    await this.#attempt("cleanup", () => this.#cleanup());

    const report = this.#judge();
    this.log({
      level: report.exitCode === 0 ? "info" : "error",
      message: "shutdown finished",
      ...report,
      errors: report.errors.map((error) => error.message),
    });
    this.#finish.resolve(report);
  }

  async #drain(): Promise<void> {
    const servers = [...this.#servers];
    const { drainDelay, drainTimeout } = this.#options;
    // Where connections are waited for until their grace is over, a short drain
    // would be over before it, and every shutdown a timeout.
    const idleGrace = Math.min(this.#options.idleGrace, drainTimeout / 2);
    const { requests, sockets } = this.#report;
    for (const server of servers) {
      this.#ask("countAnswers", () => server.countAnswers(), undefined);
    }
    requests.inFlight = this.#inFlightOf(servers).length;
    sockets.open = this.#openSocketsOf(servers);

    // Whoever called begin() may still say force() or onClose() in the same
    // breath.
    await null;
    if (drainDelay > 0 && servers.length > 0) {
      await this.#wait(new Promise(() => {}), drainDelay);
    }

    this.#enter("closing");
    const failed: Drainable[] = [];
    const closed = Promise.all(servers.map(async (server) => {
      const isClosed = await this.#attempt(
        "close",
        () => server.close(idleGrace),
      );
      if (!isClosed) failed.push(server);
    }));
    const waited = await this.#wait(closed, drainTimeout);
    this.#deadlineStruck = waited === "deadline";
    // What a server that failed to close goes on serving, nobody waits for.
    const left = waited === "done" ? failed : servers;
    if (left.length > 0) await this.#cut(left);
    requests.completed = sum(
      servers,
      (server) => this.#ask("answered", () => server.answered(), 0),
    );
  }

  async #cut(servers: Drainable[]): Promise<void> {
    const { requests, sockets } = this.#report;
    requests.cut = this.#inFlightOf(servers);
    for (const request of requests.cut) {
      this.log({ level: "warn", message: "request cut", ...request });
    }
    sockets.cut = this.#openSocketsOf(servers);
    if (sockets.cut > 0) {
      const { cut: count } = sockets;
      this.log({ level: "warn", message: "sockets cut", count });
    }
    const cut = Promise.all(
      servers.map((server) => this.#attempt("cut", () => server.cut())),
    );
    await within(this.#clock, LAST_CHANCE, cut);
  }

  #inFlightOf(servers: Drainable[]): CutRequest[] {
    return servers.flatMap((server) =>
      this.#ask("inFlight", () => server.inFlight(), [])
    );
  }

  #openSocketsOf(servers: Drainable[]): number {
    return sum(
      servers,
      (server) => this.#ask("openSockets", () => server.openSockets(), 0),
    );
  }

  /** Whether it did not fail; if it did, that is in the report. */
  async #attempt(name: string, act: () => unknown): Promise<boolean> {
    try {
      await act();
      return true;
    } catch (error) {
      this.#blame("server", name, error);
      return false;
    }
  }

  /** What a server answers, or something else where it throws. */
  #ask<Answer>(name: string, ask: () => Answer, otherwise: Answer): Answer {
    try {
      return ask();
    } catch (error) {
      this.#blame("server", name, error);
      return otherwise;
    }
  }

  /** Jobs and waitUntil first, then the hooks; one budget for all of them. */
  async #cleanup(): Promise<void> {
    const began = this.#clock.now();
    let struckAt: number | undefined;
    // Each moment that shortens or prolongs the budget is kept, and what is
    // left follows from them.
    const left = (share: number): number => {
      const end = this.#forcedAt !== undefined
        ? Math.max(this.#forcedAt, began) + LAST_CHANCE * share
        : struckAt !== undefined
        ? struckAt + LAST_CHANCE
        : began + this.#options.cleanupTimeout;
      return Math.max(0, end - this.#clock.now());
    };
    const inTime = async (promise: Promise<unknown>, share: number) => {
      const waited = this.#forcedAt === undefined
        ? await this.#wait(promise, left(share))
        : "forced";
      const done = waited === "done" ||
        waited === "forced" && await within(this.#clock, left(share), promise);
      if (!done) {
        this.#deadlineStruck = true;
        struckAt ??= this.#clock.now();
      }
      return done;
    };

    this.#stopJobs.abort(this.signal.reason);
    // A hook may hand in more work, and work may register a hook.
    while (this.#work.size > 0 || this.#hooks.length > 0) {
      // In the last chance hooks go first: work that hands in work could take
      // all of it, and the hook that closes the database comes last.
      const late = struckAt !== undefined && this.#hooks.length > 0;
      if (this.#work.size > 0 && !late) {
        const all = Promise.all([...this.#work].map((work) => work.settled));
        // After a force, work may take half of the last chance, for that reason.
        if (await inTime(all, 0.5)) continue;
        for (const work of this.#work) {
          work.record.ms = Math.round(this.#clock.now() - work.began);
          this.#overdue(work.kind, work.record);
          this.#report[recordsOf(work.kind)].push(work.record);
        }
        this.#work.clear();
      } else {
        const { name, close } = this.#hooks.pop()!;
        const hookBegan = this.#clock.now();
        const record: WorkRecord = { name, ms: 0 };
        this.#report.hooks.push(record);
        const closed = invoke(close).catch((error) => {
          record.error ??= this.#blame("hook", name, error);
        });
        if (!await inTime(closed, 1)) this.#overdue("hook", record);
        record.ms = Math.round(this.#clock.now() - hookBegan);
      }
    }
    // Here, and not a turn later: a hook registered in that turn would be lost.
    this.#enter("closed");
  }

  #track(
    kind: Work["kind"],
    name: string,
    promise: Promise<unknown>,
    failed: (error: unknown) => string | undefined,
  ): void {
    const began = this.#clock.now();
    const record: WorkRecord = { name, ms: 0 };
    const settled = promise.then(() => {}, (error) => {
      const message = failed(error);
      if (message !== undefined) record.error ??= message;
    }).then(() => {
      record.ms = Math.round(this.#clock.now() - began);
      // What ended while serving is of no interest to the report, and a server
      // that runs for a year must not remember it.
      if (this.#work.delete(work) && this.signal.aborted) {
        this.#report[recordsOf(kind)].push(record);
      }
    });
    const work: Work = { kind, began, record, settled };
    this.#work.add(work);
  }

  /** Waits for `promise`, but no longer than `ms`, and not beyond a force. */
  async #wait(promise: Promise<unknown>, ms: number): Promise<Waited> {
    const forced = this.#forced.promise;
    const done = await within(this.#clock, ms, Promise.race([promise, forced]));
    if (this.#forcedAt !== undefined) return "forced";
    return done ? "done" : "deadline";
  }

  #enter(phase: Phase): void {
    const now = this.#clock.now();
    this.#report.phases.push({
      phase: this.#phase,
      ms: Math.round(now - this.#enteredAt),
    });
    this.#phase = phase;
    this.#enteredAt = now;
  }

  #overdue(kind: string, record: WorkRecord): void {
    const { name } = record;
    record.error = "timed out";
    this.#report.errors.push(new Error(`${kind} ${name} timed out`));
    this.log({ level: "error", message: `${kind} timed out`, name });
  }

  #blame(kind: string, name: string, error: unknown): string {
    this.#report.errors.push(toError(error));
    return this.#logFailure(kind, name, error);
  }

  #logFailure(kind: string, name: string, cause: unknown): string {
    const { message: error, stack } = toError(cause);
    this.log({ level: "error", message: `${kind} failed`, name, error, stack });
    return error;
  }

  #judge(): ShutdownReport {
    const outcome = this.#forcedAt !== undefined
      ? "forced"
      : this.#deadlineStruck
      ? "timeout"
      : this.#report.errors.length > 0
      ? "failed"
      : "clean";
    const exitCode = outcome === "clean" ? 0 : 1;
    const { reason, ...rest } = this.#report;
    return { reason, outcome, exitCode, ...rest };
  }
}

/** A timer takes what is no time for none, and the drain would be over at once. */
function refuseNoTime({ log: _, ...numbers }: Required<ShutdownOptions>): void {
  const wrong = Object.entries(numbers)
    .filter(([name, value]) => !(value >= (name === "socketBatch" ? 1 : 0)))
    .map(([name, value]) => `${name} is ${value}`);
  if (wrong.length === 0) return;
  throw new RangeError(
    `${wrong.join(", ")}; expected milliseconds from 0 on, ` +
      "and a socketBatch from 1 on.",
  );
}

/** Calls `act`, so that a throw and a rejection look the same. */
async function invoke(act: () => unknown): Promise<void> {
  await act();
}

/** Whether `promise` settled before `ms` had passed. */
function within(
  clock: Clock,
  ms: number,
  promise: Promise<unknown>,
): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, () => resolve(false));
    const done = () => {
      cancel();
      resolve(true);
    };
    promise.then(done, done);
  });
}

// Promise.withResolvers is not in Node 20.
function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((r) => resolve = r);
  return { promise, resolve };
}

/** A logger that throws, or rejects, must not keep a server from closing. */
function guarded(log: (entry: LogEntry) => unknown): Log {
  return (entry) => {
    // There is nobody left to tell.
    invoke(() => log(entry)).catch(() => {});
  };
}

/** Where a clock throws, the system's takes its place; the first time is told. */
function unfailing(clock: Clock, tell: (error: unknown) => void): Clock {
  let current = clock;
  const attempt = <Result>(use: (clock: Clock) => Result): Result => {
    try {
      return use(current);
    } catch (error) {
      if (current === systemClock) throw error;
      current = systemClock;
      tell(error);
      return use(current);
    }
  };
  return {
    now: () => attempt((clock) => clock.now()),
    after: (ms, then) => attempt((clock) => clock.after(ms, then)),
    later: (ms, then) => attempt((clock) => clock.later(ms, then)),
  };
}

function recordsOf(kind: Work["kind"]): "jobs" | "waitUntil" {
  return kind === "job" ? "jobs" : "waitUntil";
}

function sum<T>(items: T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

export function toError(cause: unknown): Error {
  try {
    if (!(cause instanceof Error)) return new Error(String(cause));
    // Read here, for a getter may throw, and nobody expects that of one.
    const { message, stack = "" } = cause;
    if (typeof message === "string" && typeof stack === "string") return cause;
  } catch {
    // An object without a prototype has no words for itself.
  }
  return new Error("something that is no error was thrown");
}
