/**
 * A server under attack, and what an attack has done to it: descriptors,
 * requests in flight, WebSockets, memory, other clients, its log, its end.
 */
import { spawnSync } from "node:child_process";
import { makeCertificate } from "../support/certificate.ts";
import { descriptorsOf, memoryOf } from "../support/proc.ts";
import { RawClient, text } from "../support/raw_client.ts";
import {
  app,
  commandFor,
  type Env,
  executable,
  Process,
  root,
  runtime,
} from "../support/server_process.ts";
import { Attacker } from "./attacker.ts";

const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

export const fixture = "proof/hostile/fixture.ts";
export { app };

const DRAIN = 3_000, CLEANUP = 1_000, GRACE = 250;
/** For starting to drain, writing the report and ending, on a busy machine. */
const SLACK = 2_000;
export const BUDGET = DRAIN + CLEANUP + GRACE + SLACK;

/** More than any start takes. */
const START = 20_000;
/** How long the server may take to notice that its clients have left. */
const SETTLING = 15_000;
export const MB = 1_048_576;
export const DESCRIPTORS = 5, MEMORY = 100 * MB, LATENCY = 250;
/** A server that takes so much more is ended, before the machine suffers. */
const RUNAWAY = 1_000 * MB;

export interface TargetOptions {
  /** Default: the app as `npm start` starts it. */
  source?: string;
  tls?: boolean;
  env?: Env;
  /**
   * Requests before the measuring begins: so many make a heap as large as it
   * gets with any load (on Deno 57 MB become 170 within 10,000 and stay there).
   */
  warmUp?: number;
  /** `ulimit -n` */
  descriptors?: number;
}

/** What was seen of a server; a name for each figure of the table. */
export interface Figures {
  descriptors: number;
  inFlight: number;
  webSockets: number;
  /** The most that it grew meanwhile, in bytes. */
  memory: number;
  /** ... and what was left of that when the clients had left. */
  settled: number;
  p99: number;
  asked: number;
  drain: number;
  exit: number | string | null;
}

export class Target {
  readonly process: Process;
  readonly attackers: Attacker[] = [];
  /** What is wrong, one sentence each. */
  readonly faults: string[] = [];
  readonly figures: Figures = {
    descriptors: 0,
    inFlight: 0,
    webSockets: 0,
    memory: 0,
    settled: 0,
    p99: 0,
    asked: 0,
    drain: 0,
    exit: null,
  };
  url = "";
  admin = "";
  #before = { descriptors: 0, memory: 0 };
  #from = 0;
  #guard: ReturnType<typeof setInterval> | undefined;

  static async start(options: TargetOptions = {}): Promise<Target> {
    const target = new Target(await launch(options));
    await within(START, target.#listening(options.warmUp ?? 20));
    return target;
  }

  private constructor(process: Process) {
    this.process = process;
  }

  get pid(): number {
    return this.process.pid;
  }

  async #listening(warmUp: number): Promise<void> {
    const admin = await this.process.logged("admin server listening");
    const { json } = await this.process.logged("server listening");
    this.admin = String(admin.json?.url);
    this.url = String(json?.url);
    this.#from = this.process.lines.length;
    // What is loaded and opened once is no growth.
    await Promise.all(Array.from({ length: 10 }, async () => {
      const client = await RawClient.dial(this.url);
      for (let at = 0; at < warmUp; at += 10) await client.get("/");
      client.leave();
    }));
    await this.metrics();
    await delay(50); // the first access lines go out
    resetPeak(this.pid);
    this.#before = {
      descriptors: descriptorsOf(this.pid).length,
      memory: memoryOf(this.pid),
    };
    this.#guard = setInterval(() => this.#endRunaway(), 250);
    void this.process.exited.then(() => clearInterval(this.#guard));
  }

  #endRunaway(): void {
    const grown = peakOf(this.pid) - this.#before.memory;
    if (grown < RUNAWAY) return;
    clearInterval(this.#guard);
    this.figures.memory = grown;
    this.figures.exit = "runaway";
    this.faults.push(`memory grew by ${megabytes(grown)} and was not done`);
    this.process.kill();
  }

  /** One polite request on a connection of its own. */
  async ask(path: string): Promise<number> {
    const client = await RawClient.dial(this.url);
    try {
      return (await client.get(path)).status;
    } finally {
      client.leave();
    }
  }

  /** A connection, if the server takes one; it leaves in the end. */
  async dial(url = this.url, protocol?: string): Promise<Attacker> {
    const attacker = await Attacker.dial(url, protocol);
    if (!attacker) throw new Error(`nobody accepts a connection to ${url}`);
    this.attackers.push(attacker);
    return attacker;
  }

  async dialMany(
    count: number,
    url = this.url,
    protocol?: string,
  ): Promise<Attacker[]> {
    const many: Attacker[] = [];
    while (many.length < count) {
      const batch = Math.min(40, count - many.length);
      many.push(
        ...await Promise.all(
          Array.from({ length: batch }, () => this.dial(url, protocol)),
        ),
      );
    }
    return many;
  }

  async metrics(): Promise<{ inFlight: number; webSockets: number }> {
    const client = await RawClient.dial(this.admin);
    try {
      const host = new URL(this.admin).host;
      void client.send("GET", "/metrics", { headers: { Host: host } });
      const response = await client.response();
      const body = text(response);
      const gauge = (name: string) =>
        Number(new RegExp(`^${name} (\\S+)`, "m").exec(body)?.[1]);
      return {
        inFlight: gauge("http_requests_in_flight"),
        webSockets: gauge("websockets_open"),
      };
    } finally {
      client.leave();
    }
  }

  /**
   * Whether it still serves. A server that has had an uncaught error takes no
   * connection any more and ends by itself, which is waited for; one that has
   * lost its listener may open another.
   */
  async serves(): Promise<boolean> {
    const url = this.url.replace("https:", "http:");
    const until = performance.now() + BUDGET;
    while (!this.isGone()) {
      const attacker = await Attacker.dial(url);
      attacker?.leave();
      if (attacker) return true;
      if (performance.now() > until) {
        this.faults.push(`nobody listens any more, after ${BUDGET} ms`);
        return true;
      }
      await Promise.race([this.process.exited, delay(100)]);
    }
    return false;
  }

  leaveAll(): void {
    for (const attacker of this.attackers) attacker.leave();
  }

  /**
   * The clients have left: everything comes back to where it was. Nobody tells
   * us when the server has seen that, so look again for a while.
   */
  async settle(patience = SETTLING): Promise<void> {
    if (this.isGone()) return;
    const until = performance.now() + patience;
    const { figures } = this;
    for (let pause = 20;; pause = Math.min(250, pause * 2)) {
      try {
        Object.assign(figures, await within(10_000, this.metrics()));
      } catch (error) {
        if (this.isGone()) return;
        this.faults.push(`the admin port: ${(error as Error).message}`);
        return;
      }
      figures.descriptors = descriptorsOf(this.pid).length -
        this.#before.descriptors;
      // The question itself is a descriptor, for a moment.
      const isBack = figures.descriptors <= DESCRIPTORS &&
        figures.inFlight === 0 && figures.webSockets === 0;
      if (isBack || performance.now() > until) break;
      await delay(pause);
    }
    figures.settled = memoryOf(this.pid) - this.#before.memory;
    if (figures.descriptors > DESCRIPTORS) {
      this.faults.push(`${figures.descriptors} descriptors are not given back`);
    }
    if (figures.inFlight !== 0) {
      this.faults.push(`${figures.inFlight} requests stay in flight`);
    }
    if (figures.webSockets !== 0) {
      this.faults.push(`${figures.webSockets} WebSockets stay open`);
    }
  }

  /** The most memory it took since it was started, or what it kept of that. */
  judgeMemory(which: "peak" | "settled", limit = MEMORY): void {
    if (this.isGone()) return;
    this.figures.memory = peakOf(this.pid) - this.#before.memory;
    const grown = which === "peak" ? this.figures.memory : this.figures.settled;
    if (grown > limit) {
      this.faults.push(`memory grew by ${megabytes(grown)}`);
    }
  }

  /** No 500, no error line and nothing on stderr was called for. */
  judgeLog(expected?: RegExp): void {
    const wrong = this.process.lines.slice(this.#from).filter((
      { stream, json, text },
    ) =>
      // The report is judged on its own.
      json?.message !== "shutdown finished" &&
      (stream === "stderr" && text !== "" || json?.level === "error" ||
        json?.message === "request answered" && json?.status === 500) &&
      !expected?.test(text)
    );
    if (wrong.length === 0) return;
    const [first] = wrong;
    this.faults.push(
      `${wrong.length} lines of trouble in the log, such as ` +
        first!.text.slice(0, 600),
    );
  }

  /** SIGTERM; in order means that nothing was cut and the exit code is 0. */
  async drain(expected: "clean" | "any" = "clean"): Promise<void> {
    if (this.isGone()) return;
    this.process.signal("SIGTERM");
    const exit = await within(BUDGET + 5_000, this.process.exited).catch(
      () => undefined,
    );
    if (!exit) {
      this.figures.exit = "none";
      this.figures.drain = BUDGET + 5_000;
      this.faults.push(`SIGTERM was not heeded in ${BUDGET + 5_000} ms`);
      return;
    }
    this.figures.drain = exit.msSinceSignal;
    this.figures.exit = exit.code ?? exit.signal;
    if (exit.msSinceSignal > BUDGET) {
      this.faults.push(
        `the end took ${exit.msSinceSignal.toFixed(0)} ms, more than ${BUDGET}`,
      );
    }
    try {
      const report = this.process.report();
      const { requests, sockets, errors, exitCode, outcome } = report;
      const cut = requests.cut.length + sockets.cut;
      if (exit.code !== exitCode) {
        this.faults.push(`exit ${exit.code}, and the report says ${exitCode}`);
      }
      const isClean = exitCode === 0 && outcome === "clean" && cut === 0;
      if (expected === "clean" && !isClean) {
        this.faults.push(
          `exit ${exitCode} (${outcome}), ${requests.cut.length} requests and ` +
            `${sockets.cut} WebSockets cut, ${errors.join("; ")}`,
        );
      } else if (!isClean && cut === 0) {
        this.faults.push(`exit ${exitCode} (${outcome}), and nothing was cut`);
      }
    } catch (error) {
      this.faults.push((error as Error).message);
    }
  }

  /** Notes a process that has ended by itself, once. */
  isGone(): boolean {
    const { exit } = this.process;
    if (this.figures.exit === "runaway") return true;
    if (!exit) return false;
    if (this.figures.exit === null && !(this.process.signalledAt > 0)) {
      this.figures.exit = exit.code ?? exit.signal;
      // What it did to others then goes without saying.
      this.faults.splice(0);
      this.faults.push(`the attack ended the server: ${this.#lastWords()}`);
    }
    return true;
  }

  #lastWords(): string {
    const { exit, lines } = this.process;
    const words = lines.filter(({ stream, json }) =>
      stream === "stderr" || json?.level === "error"
    ).slice(0, 3);
    const last = words.length > 0 ? words : lines.slice(-1);
    const told = last.map(({ text }) => `\n    ${text.slice(0, 600)}`);
    return `exit ${exit?.code ?? exit?.signal}${told.join("")}`;
  }
}

async function launch(options: TargetOptions): Promise<Process> {
  const { source = app, tls = false, descriptors } = options;
  const command = await commandFor(source);
  const { cert: TLS_CERT, key: TLS_KEY } = certificate;
  return new Process(
    descriptors === undefined
      ? command
      : ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...command],
    {
      env: {
        HOST: "127.0.0.1",
        ADMIN_PORT: 0,
        DRAIN_TIMEOUT_MS: DRAIN,
        CLEANUP_TIMEOUT_MS: CLEANUP,
        ...tls ? { TLS_CERT, TLS_KEY } : {},
        ...options.env,
      },
    },
  );
}

const certificate = makeCertificate();

/** The polite client; it needs to see how long the machine let others wait. */
export class Polite {
  readonly #process: Process;
  #stops = 0;

  static async start(): Promise<Polite> {
    const source = "proof/hostile/polite.ts";
    const command = runtime === "deno"
      ? [executable, "run", "--no-prompt", "--allow-all", `${root}/${source}`]
      : await commandFor(source);
    return new Polite(new Process(command));
  }

  private constructor(process: Process) {
    this.#process = process;
  }

  begin({ url, pid }: Target): void {
    this.#process.type(`${JSON.stringify({ url, pid })}\n`);
  }

  async stop(target: Target, mayLose = false): Promise<void> {
    this.#process.type("stop\n");
    const { json } = await this.#process.event("figures", {}, ++this.#stops);
    const figures = json as unknown as {
      asked: number;
      p99: number;
      failures: string[];
    };
    target.figures.p99 = figures.p99;
    target.figures.asked = figures.asked;
    if (target.isGone()) return;
    if (figures.failures.length > 0 && !mayLose) {
      target.faults.push(`another client: ${figures.failures.join("; ")}`);
    }
    if (figures.p99 > LATENCY) {
      target.faults.push(slow(figures.p99));
    }
  }

  leave(): void {
    this.#process.kill();
  }
}

/** Only that may be the machine's doing, and is worth a second try. */
const slow = (ms: number) => `another client waited ${ms.toFixed(0)} ms (p99)`;
export const isSlowness = (fault: string) =>
  /^another client waited/.test(fault);

export const megabytes = (bytes: number) => `${(bytes / MB).toFixed(0)} MB`;

/** Deno opens /proc to nobody without all permissions. */
function peakOf(pid: number): number {
  const { stdout } = spawnSync("cat", [`/proc/${pid}/status`], {
    encoding: "utf8",
  });
  return Number(/VmHWM:\s*(\d+) kB/.exec(stdout)?.[1] ?? 0) * 1024;
}

function resetPeak(pid: number): void {
  spawnSync("sh", ["-c", `echo 5 >/proc/${pid}/clear_refs`]);
}

export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
