import type { Listener } from "../runtimes/runtime.ts";
import { LAST_CHANCE } from "../runtimes/times.ts";
import type { Clock } from "./clock.ts";
import { Deadline } from "./deadline.ts";
import { type CutRequest, type Draft, toCutRequest } from "./report.ts";
import { Sockets } from "./sockets.ts";

/** A listener, and its WebSockets. */
export interface Served {
  listener: Listener;
  sockets: Pick<Sockets, "size" | "cut">;
}

/** The servers under a controller's care: how they are counted, closed and cut. */
export class Servers {
  readonly #all: Served[] = [];
  readonly #clock: Clock;
  readonly #draft: Draft;
  readonly #batch: number;
  /** The event streams of all of them that end when they close. */
  readonly streams: Sockets;

  constructor(clock: Clock, draft: Draft, batch: number) {
    this.#clock = clock;
    this.#draft = draft;
    this.#batch = batch;
    this.streams = this.newSockets();
  }

  newSockets(): Sockets {
    return new Sockets(this.#clock, this.#batch);
  }

  add(listener: Listener, sockets: Served["sockets"]): void {
    this.#all.push({ listener, sockets });
  }

  get count(): number {
    return this.#all.length;
  }

  get inFlight(): number {
    return sum(this.#all, ({ listener }) => listener.inFlight().length);
  }

  get openSockets(): number {
    return sum(this.#all, ({ sockets }) => sockets.size);
  }

  /** The shutdown has begun: what is open now is in the report. */
  countOpen(): void {
    for (const { listener } of this.#all) {
      this.#ask("countAnswers", () => listener.countAnswers(), undefined);
    }
    const { requests, sockets } = this.#draft;
    requests.inFlight = this.#inFlightOf(this.#all).length;
    sockets.open = this.#socketsOf(this.#all);
  }

  /** Whether all was answered by then; what was not is cut. */
  async close(idleGrace: number, deadline: Deadline): Promise<boolean> {
    void this.#draft.attempt("close", () => this.streams.close());
    const all = [...this.#all];
    const failed: Served[] = [];
    const closed = Promise.all(all.map(async (one) => {
      const isClosed = await this.#draft.attempt(
        "close",
        () => one.listener.close(idleGrace),
      );
      if (!isClosed) failed.push(one);
    }));
    const isDone = await deadline.waitFor(closed);
    // What a server that failed to close goes on serving, nobody waits for.
    const left = isDone ? failed : all;
    if (left.length > 0) await this.#cut(left);
    this.#draft.requests.completed = sum(
      all,
      ({ listener }) => this.#ask("answered", () => listener.answered(), 0),
    );
    return isDone;
  }

  async #cut(servers: Served[]): Promise<void> {
    this.#draft.cutRequests(this.#inFlightOf(servers));
    this.#draft.cutSockets(this.#socketsOf(servers));
    const cut = [
      this.streams,
      ...servers.flatMap(({ listener, sockets }) => [sockets, listener]),
    ].map((one) => this.#draft.attempt("cut", () => one.cut()));
    await new Deadline(this.#clock, LAST_CHANCE).waitFor(Promise.all(cut));
  }

  #inFlightOf(servers: Served[]): CutRequest[] {
    const now = this.#clock.now();
    return servers.flatMap(({ listener }) =>
      this.#ask("inFlight", () => listener.inFlight(), [])
        .map((request) => toCutRequest(request, now))
    );
  }

  #socketsOf(servers: Served[]): number {
    return sum(
      servers,
      ({ sockets }) => this.#ask("openSockets", () => sockets.size, 0),
    );
  }

  /** What a server answers, or something else where it throws. */
  #ask<Answer>(name: string, ask: () => Answer, otherwise: Answer): Answer {
    try {
      return ask();
    } catch (error) {
      this.#draft.blame("server", name, error);
      return otherwise;
    }
  }
}

function sum<T>(items: T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
