import type { Listener } from "../runtimes/runtime.ts";
import { type Clock, systemClock, unfailing } from "./clock.ts";
import { Deadline } from "./deadline.ts";
import { invoke, isAbort, toError } from "./errors.ts";
import { guarded, type Log } from "./log.ts";
import { Draft, type Phase, type ShutdownReport } from "./report.ts";
import { type Served, Servers } from "./servers.ts";
import type { Sockets } from "./sockets.ts";
import { Work } from "./work.ts";

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
  /**
   * How many WebSockets are closed at once, and event streams ended, every 100 ms.
   * Default 1,000.
   */
  socketBatch?: number;
  /** Where the log lines go. Default: JSON lines on stdout. */
  log?: Log;
}

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
  #finish!: (report: ShutdownReport) => void;
  #isForced = false;
  /** What a force cuts short in the phase at hand. */
  #hurry = () => {};
  readonly #servers: Servers;
  readonly #draft: Draft;
  readonly #work: Work;

  constructor(
    options: ShutdownOptions & { log: Log },
    clock: Clock = systemClock,
  ) {
    this.#options = complete(options);
    this.#draft = new Draft(this.log);
    this.#clock = unfailing(
      clock,
      (error) => void this.#draft.blame("clock", "system", error),
    );
    const { socketBatch } = this.#options;
    this.#servers = new Servers(this.#clock, this.#draft, socketBatch);
    this.#work = new Work(this.#clock, this.#draft);
    this.#enteredAt = this.#clock.now();
    this.finished = new Promise((resolve) => this.#finish = resolve);
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

  get log(): Log {
    return this.#options.log;
  }

  /** Begins the shutdown; every further call returns the same promise. */
  begin(reason = "asked to stop"): Promise<ShutdownReport> {
    if (!this.signal.aborted) {
      this.#draft.reason = reason;
      this.log({ level: "info", message: "shutdown began", reason });
      // The phase moves first: a handler woken by the signal that asks for
      // readiness must already find it red.
      this.#enter("draining");
      this.#work.remember();
      const why = `The server is shutting down: ${reason}`;
      this.#began.abort(new DOMException(why, "AbortError"));
      this.#run();
    }
    return this.finished;
  }

  /** Begins the shutdown because of an error: it is in the report, exit 1. */
  fail(error: unknown, reason = "an error"): Promise<ShutdownReport> {
    this.#draft.errors.push(toError(error));
    return this.begin(reason);
  }

  /** Cuts what is left, now. Hooks get one last short chance. */
  force(reason = "asked to stop at once"): void {
    if (this.#isForced || this.#phase === "closed") return;
    this.#isForced = true;
    this.begin(reason);
    this.log({ level: "warn", message: "shutdown forced", reason });
    this.#hurry();
  }

  /** Says how a resource closes. Hooks run last registered first. */
  onClose(name: string, close: () => unknown): void {
    this.#work.addHook(name, close);
  }

  /**
   * Background work: runs at once, is told to stop through its signal after the
   * last request, and is awaited. A job that fails shuts the server down.
   */
  job(name: string, run: (signal: AbortSignal) => Promise<void>): void {
    const signal = this.#work.stopJobs;
    if (signal.aborted) return;
    this.#work.track("job", name, invoke(() => run(signal)), (error) => {
      if (signal.aborted && isAbort(error)) return;
      const message = this.#draft.blame("job", name, error);
      this.begin(`job ${name} failed`);
      return message;
    });
  }

  /** Work that outlives its response: awaited before the hooks run. */
  waitUntil(work: Promise<unknown>, name = "work"): void {
    this.#work.track("waitUntil", name, work, (error) => {
      if (this.signal.aborted) {
        return this.#draft.blame("waitUntil", name, error);
      }
      // While serving this is one request's misfortune, not the server's.
      this.#draft.logFailure("waitUntil", name, error);
    });
  }

  /** How many requests are being served right now, as far as is known. */
  get inFlight(): number {
    return this.#servers.inFlight;
  }

  /** How many WebSockets are open. */
  get openSockets(): number {
    return this.#servers.openSockets;
  }

  /** @internal For `serve`: where a server counts its WebSockets. */
  newSockets(): Sockets {
    return this.#servers.newSockets();
  }

  /** @internal For `eventStream`: those that end when the listeners close. */
  get streams(): Sockets {
    return this.#servers.streams;
  }

  /** @internal For `serve`: a server that shutdown will drain. */
  attach(listener: Listener, sockets: Served["sockets"]): void {
    this.#servers.add(listener, sockets);
    if (this.#phase === "starting") this.#enter("serving");
  }

  /** Whatever throws on the way is an error in the report, which always comes. */
  async #run(): Promise<void> {
    let isLate = false;
    await this.#draft.attempt("drain", async () => {
      if (!await this.#drain()) isLate = true;
    });
    this.#enter("cleanup");
    await this.#draft.attempt("cleanup", async () => {
      if (!await this.#cleanup()) isLate = true;
    });
    this.#enter("closed");
    this.#finish(this.#draft.finish(this.#isForced, isLate));
  }

  /** Whether all was answered in time. */
  async #drain(): Promise<boolean> {
    const { drainDelay, drainTimeout } = this.#options;
    // Where connections are waited for until their grace is over, a short drain
    // would be over before it, and every shutdown a timeout.
    const idleGrace = Math.min(this.#options.idleGrace, drainTimeout / 2);
    this.#servers.countOpen();

    // Whoever called begin() may still say force() or onClose() in the same
    // breath.
    await null;
    if (drainDelay > 0 && this.#servers.count > 0) {
      await this.#until(drainDelay).waitFor(new Promise(() => {}));
    }

    this.#enter("closing");
    return this.#servers.close(idleGrace, this.#until(drainTimeout));
  }

  /** A deadline that a force strikes. */
  #until(ms: number): Deadline {
    const deadline = new Deadline(this.#clock, ms);
    this.#hurry = () => deadline.strike();
    if (this.#isForced) this.#hurry();
    return deadline;
  }

  /** Whether all of it ended in time. */
  #cleanup(): Promise<boolean> {
    this.#hurry = () => this.#work.force();
    if (this.#isForced) this.#hurry();
    return this.#work.finish(
      this.#options.cleanupTimeout,
      this.signal.reason,
    );
  }

  #enter(phase: Phase): void {
    const now = this.#clock.now();
    this.#draft.phases.push({
      phase: this.#phase,
      ms: Math.round(now - this.#enteredAt),
    });
    this.#phase = phase;
    this.#enteredAt = now;
  }
}

function complete(
  options: ShutdownOptions & { log: Log },
): Required<ShutdownOptions> {
  const all = {
    drainDelay: options.drainDelay ?? 0,
    idleGrace: options.idleGrace ?? 250,
    drainTimeout: options.drainTimeout ?? 10_000,
    cleanupTimeout: options.cleanupTimeout ?? 5_000,
    socketBatch: options.socketBatch ?? 1_000,
    log: guarded(options.log),
  };
  refuseNoTime(all);
  return all;
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
