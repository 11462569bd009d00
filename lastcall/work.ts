import { LAST_CHANCE } from "../runtimes/times.ts";
import type { Clock } from "./clock.ts";
import { Deadline } from "./deadline.ts";
import { invoke } from "./errors.ts";
import type { Draft, WorkKind, WorkRecord } from "./report.ts";

/** Work that goes on beside the requests: a job, or what waitUntil was given. */
interface Running {
  kind: WorkKind;
  began: number;
  record: WorkRecord;
  settled: Promise<void>;
}

/** What is awaited after the last request: jobs and waitUntil, then the hooks. */
export class Work {
  readonly #clock: Clock;
  readonly #draft: Draft;
  readonly #running = new Set<Running>();
  readonly #hooks: { name: string; close: () => unknown }[] = [];
  readonly #stopJobs = new AbortController();
  #isRemembered = false;
  #isClosed = false;
  #isForced = false;
  /** While there is one: the budget of jobs and waitUntil, and of the hooks. */
  #forWork: Deadline | undefined;
  #forHooks: Deadline | undefined;

  constructor(clock: Clock, draft: Draft) {
    this.#clock = clock;
    this.#draft = draft;
  }

  /** Aborts when the jobs are to stop. */
  get stopJobs(): AbortSignal {
    return this.#stopJobs.signal;
  }

  /**
   * From here on, what has ended is in the report. Before, it is of no interest,
   * and a server that runs for a year must not remember it.
   */
  remember(): void {
    this.#isRemembered = true;
  }

  /** `failed` says what the record is to say of an error. */
  track(
    kind: WorkKind,
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
      record.ms = this.#since(began);
      if (this.#running.delete(running) && this.#isRemembered) {
        this.#draft.record(kind, record);
      }
    });
    const running: Running = { kind, began, record, settled };
    this.#running.add(running);
  }

  addHook(name: string, close: () => unknown): void {
    if (!this.#isClosed) {
      this.#hooks.push({ name, close });
      return;
    }
    // Opened too late to be closed in its turn (a slow connect that outlived
    // its deadline): closed on the spot, for nobody else will.
    invoke(close)
      .catch((error) => this.#draft.logFailure("hook", name, error));
  }

  /** Whether all of it ended within `ms`, or within what a force left of it. */
  async finish(ms: number, reason: unknown): Promise<boolean> {
    this.#forWork = new Deadline(this.#clock, ms);
    this.#forHooks = new Deadline(this.#clock, ms);
    if (this.#isForced) this.force();
    let isLate = false;
    const late = () => {
      if (!isLate && !this.#isForced) {
        this.#forWork?.move(LAST_CHANCE);
        this.#forHooks?.move(LAST_CHANCE);
      }
      isLate = true;
    };

    this.#stopJobs.abort(reason);
    // A hook may hand in more work, and work may register a hook.
    while (this.#running.size > 0 || this.#hooks.length > 0) {
      // In the last chance hooks go first: work that hands in work could take
      // all of it, and the hook that closes the database comes last.
      const hooksFirst = isLate && this.#hooks.length > 0;
      const isDone = this.#running.size > 0 && !hooksFirst
        ? await this.#endWork(this.#forWork)
        : await this.#endHook(this.#forHooks);
      if (!isDone) late();
    }
    // Here, and not a turn later: a hook registered in that turn would be lost.
    this.#isClosed = true;
    return !isLate;
  }

  /** One short chance for all; half of it for work, so that hooks get theirs. */
  force(): void {
    this.#isForced = true;
    this.#forWork?.move(LAST_CHANCE / 2);
    this.#forHooks?.move(LAST_CHANCE);
  }

  async #endWork(deadline: Deadline): Promise<boolean> {
    const all = Promise.all([...this.#running].map((work) => work.settled));
    if (await deadline.waitFor(all)) return true;
    for (const { kind, began, record } of this.#running) {
      record.ms = this.#since(began);
      this.#draft.timedOut(kind, record);
      this.#draft.record(kind, record);
    }
    this.#running.clear();
    return false;
  }

  async #endHook(deadline: Deadline): Promise<boolean> {
    const { name, close } = this.#hooks.pop()!;
    const began = this.#clock.now();
    const record: WorkRecord = { name, ms: 0 };
    this.#draft.record("hook", record);
    const closed = invoke(close).catch((error) => {
      record.error ??= this.#draft.blame("hook", name, error);
    });
    const isDone = await deadline.waitFor(closed);
    if (!isDone) this.#draft.timedOut("hook", record);
    record.ms = this.#since(began);
    return isDone;
  }

  #since(began: number): number {
    return Math.round(this.#clock.now() - began);
  }
}
