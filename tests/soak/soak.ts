/**
 * Shutdowns at random moments under mixed load. Not one response may be missing
 * or cut whose request was wholly sent before the listener closed.
 *
 * "Wholly sent" is the moment the kernel had the last byte, seen from here;
 * "closed" is the time the server itself wrote into its log. Of what was sent
 * after that, only a request on a connection that was used within the idle
 * grace has a claim to an answer, and only on Node: Deno and Bun close listener
 * and idle connections together, after the grace. The rest counts as raced.
 *
 * Two races nobody can judge from outside. A connection of the last moment that
 * was never answered may still have been in the kernel's accept queue, which a
 * closing listener resets: it counts as unaccepted. And a request on a connection
 * at rest for longer than the grace may meet the end of that connection on the
 * wire, on Deno and Bun, where one call closes both and the log line follows a
 * turn or two of a busy loop later: it counts as crossed. There must be few.
 */
import { Buffer } from "node:buffer";
import {
  Cut,
  isPattern,
  RawClient,
  type RawResponse,
  requestBytes,
  text,
} from "../contract/raw_client.ts";
import {
  killAll,
  runtime,
  type ServerProcess,
  startFixture,
} from "../contract/server_process.ts";
import { seeded } from "../seeded.js";

export interface SoakOptions {
  rounds: number;
  seed: number;
  /** Makes the server under test another one, to see whether it is noticed. */
  env?: Record<string, string | number>;
}

export interface Tally {
  rounds: number;
  /** Requests that were answered whole. */
  answered: number;
  /** ... of them, those in flight when the signal came. */
  inFlight: number;
  /** ... of them, those sent after the signal. */
  afterSignal: number;
  /** Answered 503 with Retry-After: new bodies while Deno holds its stop. */
  refused: number;
  /** Lost on a new connection within `LAST_MOMENT` before the closing. */
  unaccepted: number;
  /** Lost on a connection at rest within `LAST_MOMENT` before the closing. */
  crossed: number;
  /** Lost, but sent when the connection could no longer be counted on. */
  raced: number;
  /** From the last byte to the end of the process: the slowest, in ms. */
  slowestEnd: number;
  /** Everything that must not be, one sentence each. */
  failures: string[];
}

/**
 * As long as a busy server may take to see a connection of the kernel's, or from
 * closing its connections to the line that says so. On Deno it was 29 ms where
 * the machine took the processor away; Node's line follows at once.
 */
const LAST_MOMENT = runtime === "node" ? 10 : 100;

const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Both sides' clocks in one: the server's log has wall-clock times. */
const wallClock = () => performance.timeOrigin + performance.now();

interface Request {
  what: string;
  send(client: RawClient): Promise<boolean>;
  isRight(response: RawResponse): boolean;
}

interface Exchange {
  what: string;
  /** When its connection had brought its last response, if it had any. */
  usedAt: number | undefined;
  /** When the request before it was sent: its server was not at rest yet. */
  busyAt: number;
  sentAt: number;
  endedAt: number;
  result: "answered" | "refused" | { lost: string; unread: boolean };
}

export async function soak(
  { rounds, seed, env = {} }: SoakOptions,
): Promise<Tally> {
  const tally: Tally = {
    rounds,
    answered: 0,
    inFlight: 0,
    afterSignal: 0,
    refused: 0,
    unaccepted: 0,
    crossed: 0,
    raced: 0,
    slowestEnd: 0,
    failures: [],
  };
  for (let round = 0; round < rounds; round++) {
    try {
      await new Round(tally, seed + round, env).run();
    } catch (error) {
      tally.failures.push(`seed ${seed + round}: ${(error as Error).message}`);
    } finally {
      killAll();
    }
  }
  return tally;
}

export function describe(tally: Tally, seed: number): string {
  const { failures, slowestEnd, ...counts } = tally;
  const numbers = Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`).join(", ");
  return [
    `The soak on ${runtime}, SEED=${seed}: ${numbers}, slowest end ` +
    `${slowestEnd.toFixed(0)} ms, failures ${failures.length}`,
    ...failures.slice(0, 20).map((failure) => `  ${failure}`),
  ].join("\n");
}

/** One server, its load, one signal. */
class Round {
  readonly #random: () => number;
  readonly #exchanges: Exchange[] = [];
  readonly #refusedAt: number[] = [];
  readonly #clients = new Set<RawClient>();
  #server!: ServerProcess;
  #signalAt = Infinity;
  #lastByteAt = 0;

  constructor(
    private readonly tally: Tally,
    private readonly seed: number,
    private readonly env: Record<string, string | number>,
  ) {
    this.#random = seeded(seed);
  }

  async run(): Promise<void> {
    const idleGrace = this.#between(100, 250);
    const drainDelay = this.#random() < 0.25 ? 150 : 0;
    const server = this.#server = await startFixture({
      IDLE_GRACE_MS: idleGrace,
      DRAIN_DELAY_MS: drainDelay,
      ...this.env,
    });
    const load = Promise.all([
      ...this.#times(6, () => this.#client(() => this.#hello(), 30)),
      ...this.#times(2, () => this.#client(() => this.#hello(), 600)),
      ...this.#times(3, () => this.#client(() => this.#hello(), 40, true)),
      ...this.#times(3, () => this.#client(() => this.#slow(), 30)),
      ...this.#times(3, () => this.#client(() => this.#stream(), 50)),
      ...this.#times(1, () => this.#client(() => this.#big(), 100)),
      ...this.#times(3, () => this.#client(() => this.#upload(), 50)),
    ]);
    await delay(this.#between(30, 400));
    server.signal("SIGTERM");
    this.#signalAt = wallClock();
    const exit = await server.exited;
    await load;
    for (const client of this.#clients) client.leave();

    const closed = server.printed("listener closed")[0]?.json?.time;
    const closedAt = closed ? Date.parse(String(closed)) : Infinity;
    this.#judge(closedAt, runtime === "node" ? idleGrace : 0);

    const exitAt = performance.timeOrigin + exit.at;
    const due = this.#signalAt + drainDelay + idleGrace;
    const took = exitAt - Math.max(this.#lastByteAt, due);
    this.tally.slowestEnd = Math.max(this.tally.slowestEnd, took);
    if (took > 1200) this.#fail(`the end took ${took.toFixed(0)} ms`);
    if (exit.code !== 0) this.#fail(`exit ${exit.code ?? exit.signal}`);
    const stderr = server.output("stderr");
    if (stderr) this.#fail(`stderr: ${stderr.slice(0, 300)}`);
    if (server.report().outcome !== "clean") this.#fail("not clean");
  }

  #judge(closedAt: number, idleGrace: number): void {
    const { tally } = this;
    for (
      const { what, usedAt = 0, busyAt, sentAt, endedAt, result } of this
        .#exchanges
    ) {
      // One still busy when the listener closed closes after its response. The
      // server's idle time began with what it wrote, ours with what we read.
      const recent = usedAt <= closedAt && closedAt - busyAt < idleGrace;
      const due = closedAt + (recent ? idleGrace : 0);
      const afterSignal = sentAt > this.#signalAt;
      const unread = sentAt > closedAt - LAST_MOMENT &&
        typeof result === "object" && result.unread;
      if (result === "answered") {
        tally.answered++;
        if (afterSignal) tally.afterSignal++;
        else if (endedAt > this.#signalAt) tally.inFlight++;
      } else if (result === "refused" && afterSignal) tally.refused++;
      else if (result !== "refused" && sentAt > due) tally.raced++;
      else if (unread && !usedAt) tally.unaccepted++;
      else if (unread && runtime !== "node") tally.crossed++;
      else {
        const since = (moment: number) => (sentAt - moment).toFixed(1);
        const kind = usedAt
          ? `a connection idle for ${since(usedAt)} ms`
          : "a new connection";
        const how = result === "refused" ? "refused" : result.lost;
        this.#fail(
          `${what} on ${kind}, sent ${since(this.#signalAt)} ms after the ` +
            `signal and ${since(closedAt)} after the listener closed: ${how}`,
        );
      }
    }
    for (const at of this.#refusedAt) {
      // The log line comes a little after the closing it speaks of.
      if (at < closedAt - LAST_MOMENT) {
        this.#fail("refused a connection while listening");
      }
    }
  }

  #fail(what: string): void {
    this.tally.failures.push(`seed ${this.seed}: ${what}`);
  }

  /**
   * Asks one thing after another, on a kept connection or on a new one each
   * time, until the server takes no more.
   */
  async #client(
    next: () => Request,
    longestThought: number,
    oneShot = false,
  ): Promise<void> {
    let client: RawClient | undefined;
    let busyAt = 0;
    while (true) {
      await delay(this.#between(0, longestThought));
      if (!client || client.ending) {
        client = await this.#connect();
        if (!client) return;
        busyAt = 0;
      }
      busyAt = await this.#exchange(client, next(), busyAt);
      const last = client.responses.at(-1);
      const told = last?.headers.get("connection")?.toLowerCase() === "close";
      if (oneShot || told) {
        client.leave();
        client = undefined;
      }
    }
  }

  async #connect(): Promise<RawClient | undefined> {
    try {
      const client = await RawClient.connect(this.#server.port);
      this.#clients.add(client);
      void client.closed.then(() => this.#clients.delete(client));
      return client;
    } catch {
      this.#refusedAt.push(wallClock());
      return undefined;
    }
  }

  /** Resolves with the time at which the request was sent. */
  async #exchange(
    client: RawClient,
    request: Request,
    busyAt: number,
  ): Promise<number> {
    const { what } = request;
    const last = client.responses.at(-1);
    const usedAt = last && performance.timeOrigin + last.lastByteAt;
    let sentAt = Infinity;
    const sent = request.send(client).then((whole) => {
      if (whole) sentAt = wallClock();
    });
    let result: Exchange["result"];
    try {
      const response = await client.response();
      this.#lastByteAt = Math.max(
        this.#lastByteAt,
        performance.timeOrigin + response.lastByteAt,
      );
      const { status, headers } = response;
      result = status === 503 && headers.has("retry-after")
        ? "refused"
        : status === 200 && request.isRight(response)
        ? "answered"
        : {
          lost: `${status} ${text(response).slice(0, 100)}`,
          unread: false,
        };
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      // As far as one can tell from here: not a byte of an answer came.
      const unread = client.responses.every(({ whole }) => whole);
      result = { lost: error.message, unread };
    }
    await sent;
    this.#exchanges.push({
      what,
      usedAt,
      busyAt,
      sentAt,
      endedAt: wallClock(),
      result,
    });
    return sentAt;
  }

  #get(path: string, isRight: Request["isRight"]): Request {
    return {
      what: `GET ${path}`,
      send: (client) => client.send("GET", path),
      isRight,
    };
  }

  #hello(): Request {
    return this.#get("/", (response) => text(response) === "hello");
  }

  #slow(): Request {
    const path = `/slow?ms=${this.#between(20, 300)}`;
    return this.#get(path, (response) => text(response) === "slow but whole");
  }

  #stream(): Request {
    if (this.#random() < 0.3) {
      const right = (response: RawResponse) => isPattern(response, 1_000_000);
      return this.#get("/big-stream?mb=1", right);
    }
    const drops = this.#between(2, 8);
    return this.#get(
      `/drip?n=${drops}&ms=${this.#between(5, 30)}`,
      (response) => text(response).match(/drop/g)?.length === drops,
    );
  }

  #big(): Request {
    return this.#get("/big?mb=3", (response) => isPattern(response, 3_000_000));
  }

  #upload(): Request {
    const length = this.#between(1_000, 300_000);
    const late = this.#random() < 0.3
      ? `-late?ms=${this.#between(5, 100)}`
      : "";
    const bytes = requestBytes("POST", `/upload${late}`, {
      body: Buffer.alloc(length, "u"),
    });
    const pieces = this.#between(1, 5);
    const pause = this.#between(0, 30);
    return {
      what: `POST /upload${late} of ${length} bytes in ${pieces} pieces`,
      async send(client) {
        const size = Math.ceil(bytes.length / pieces);
        let whole = true;
        for (let at = 0; at < bytes.length; at += size) {
          if (at > 0) await delay(pause);
          whole = await client.write(bytes.subarray(at, at + size));
        }
        return whole;
      },
      isRight: (response) => text(response) === String(length),
    };
  }

  #between(low: number, high: number): number {
    return low + Math.floor(this.#random() * (high - low + 1));
  }

  #times<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}
