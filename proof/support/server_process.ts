/**
 * A process under test: started, watched line by line, signalled, and seen out.
 *
 * Signals go through `process.kill`: on Deno `child.kill(signal)` makes the
 * child's exit look as if that signal had ended it, whatever its exit code was.
 */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { RawClient } from "./raw_client.ts";

export type RuntimeName = "deno" | "bun" | "node";

/** The runtime under test, and the one that runs the tests, are the same. */
export const runtime: RuntimeName = ownRuntime();
export const root: string = findRoot();
/** Node may be tested by another of its versions than the one testing. */
export const executable: string = runtime === "node"
  ? process.env.LASTCALL_SERVER_NODE || process.execPath
  : process.execPath;

function ownRuntime(): RuntimeName {
  const own = "Deno" in globalThis
    ? "deno"
    : process.versions.bun
    ? "bun"
    : "node";
  const wanted = process.env.LASTCALL_RUNTIME || own;
  if (wanted === own) return own;
  throw new Error(
    `LASTCALL_RUNTIME is "${wanted}", but ${own} runs this; expected the same.`,
  );
}

/** A bundled test does not know where it came from, so look upwards. */
function findRoot(): string {
  for (let dir = process.cwd();; dir = path.dirname(dir)) {
    if (fs.existsSync(path.join(dir, "proof/support/fixture.ts"))) return dir;
    if (dir === path.dirname(dir)) {
      throw new Error(
        `${process.cwd()} is not inside lastcall; run the tests from there.`,
      );
    }
  }
}

export interface Line {
  stream: "stdout" | "stderr";
  text: string;
  json: Record<string, unknown> | undefined;
  at: number;
}

export interface Exit {
  code: number | null;
  signal: string | null;
  at: number;
  /** Since the last signal this process was sent. */
  msSinceSignal: number;
}

export interface Report {
  reason: string;
  outcome: string;
  exitCode: number;
  phases: { phase: string; ms: number }[];
  requests: {
    inFlight: number;
    completed: number;
    cut: { method: string; path: string; ageMs: number }[];
  };
  sockets: { open: number; cut: number };
  hooks: Work[];
  jobs: Work[];
  waitUntil: Work[];
  errors: string[];
}

interface Work {
  name: string;
  ms: number;
  error?: string;
}

export type Env = Record<string, string | number>;

export interface SpawnOptions {
  env?: Env;
  cwd?: string;
}

const alive = new Set<Process>();

/** Whatever a test left behind ends with it. */
export function killAll(): void {
  for (const server of alive) server.kill();
}

export class Process {
  readonly lines: Line[] = [];
  readonly exited: Promise<Exit>;
  readonly pid: number;
  exit: Exit | undefined;
  signalledAt = NaN;
  #child: ChildProcess;
  #watchers = new Set<() => void>();

  /** Nobody reads any more what it has to say. */
  closeOutput(): void {
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  constructor(command: string[], { env = {}, cwd = root }: SpawnOptions = {}) {
    const [file = "", ...args] = command;
    this.#child = spawn(file, args, {
      cwd,
      env: childEnv(env),
      stdio: ["pipe", "pipe", "pipe"],
      // Its own process group, so that a wrapper's children can be killed too.
      detached: true,
    });
    this.pid = this.#child.pid ?? NaN;
    alive.add(this);
    this.#collect("stdout");
    this.#collect("stderr");
    this.exited = new Promise((resolve) => {
      let exit: Exit = { code: null, signal: null, at: 0, msSinceSignal: NaN };
      this.#child.on("exit", (code, signal) => {
        const at = performance.now();
        exit = { code, signal, at, msSinceSignal: at - this.signalledAt };
      });
      const over = () => {
        alive.delete(this);
        resolve(this.exit = exit);
        this.#changed();
      };
      // "close" comes when the output has been read to its end as well.
      this.#child.on("close", over);
      this.#child.on("error", (error) => {
        this.#add("stderr", `${file} could not be started: ${error.message}`);
        over();
      });
    });
  }

  signal(name: "SIGTERM" | "SIGINT"): void {
    this.signalledAt = performance.now();
    process.kill(this.pid, name);
  }

  /** Types into the process: to a terminal, "\x03" is Ctrl-C. */
  type(keys: string): void {
    this.signalledAt = performance.now();
    this.#child.stdin?.write(keys);
  }

  kill(): void {
    alive.delete(this);
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
  }

  output(stream: Line["stream"] = "stdout"): string {
    return this.lines.filter((line) => line.stream === stream)
      .map((line) => line.text + "\n").join("");
  }

  /** The first line, past or to come, that fits. Rejects if none can come. */
  line(what: string, fits: (line: Line) => boolean, nth = 1): Promise<Line> {
    return new Promise((resolve, reject) => {
      let seen = 0, found = 0;
      const look = () => {
        for (; seen < this.lines.length; seen++) {
          const line = this.lines[seen];
          if (line && fits(line) && ++found === nth) {
            this.#watchers.delete(look);
            return resolve(line);
          }
        }
        if (!this.exit) return;
        this.#watchers.delete(look);
        reject(new Error(`${this.describe()} before it printed ${what}`));
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** A line of the fixture: `{"event": name, ...fields}`. */
  event(name: string, fields: object = {}, nth = 1): Promise<Line> {
    return this.line(
      `the event ${name} ${JSON.stringify(fields)}`,
      (line) => line.json?.event === name && has(line, fields),
      nth,
    );
  }

  /** A line of the engine's log: `{"message": message, ...fields}`. */
  logged(message: string, fields: object = {}, nth = 1): Promise<Line> {
    return this.line(
      `the log line ${message} ${JSON.stringify(fields)}`,
      (line) => line.json?.message === message && has(line, fields),
      nth,
    );
  }

  /** The lines printed so far that are this event or this log message. */
  printed(name: string): Line[] {
    return this.lines.filter((line) =>
      line.json?.event === name || line.json?.message === name
    );
  }

  /**
   * The last line of stdout, which is the report: but for a fixture's own events,
   * for a handler that was cut may end, and say so, behind it.
   */
  report(): Report {
    const last = this.lines.findLast((line) =>
      line.stream === "stdout" && !line.json?.event
    );
    if (last?.json?.message !== "shutdown finished") {
      throw new Error(`${this.describe()}, and its last line is no report`);
    }
    return last.json as unknown as Report;
  }

  describe(): string {
    const end = this.exit
      ? `the process ended with ${this.exit.code ?? this.exit.signal}`
      : "the process runs";
    const tail = this.lines.slice(-12).map((line) =>
      `  ${line.stream === "stderr" ? "! " : "| "}${line.text.slice(0, 1_500)}`
    );
    return `${end}, having printed\n${tail.join("\n")}\n`;
  }

  #collect(stream: Line["stream"]): void {
    let rest = "";
    const add = (text: string) => this.#add(stream, text);
    const source = this.#child[stream];
    source?.setEncoding("utf8");
    source?.on("data", (data: string) => {
      const lines = (rest + data).split(/\r?\n/);
      rest = lines.pop() ?? "";
      lines.forEach(add);
      this.#changed();
    });
    source?.on("end", () => {
      if (rest) add(rest);
    });
  }

  #add(stream: Line["stream"], text: string): void {
    const at = performance.now();
    this.lines.push({ stream, text, json: parse(text), at });
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }
}

/** A server that listens. */
export class ServerProcess extends Process {
  url = "";
  port = NaN;
  /** The port of the second server on the same controller, if any. */
  second = NaN;

  async listening(): Promise<this> {
    const { json } = await this.event("listening");
    this.url = String(json?.url);
    this.port = Number(json?.port);
    this.second = Number(json?.second);
    return this;
  }

  connect(): Promise<RawClient> {
    return RawClient.dial(this.url);
  }
}

/** The narrowest rights that serve. */
const denoRun = ["run", "--no-prompt", "--allow-net", "--allow-env"];

/** What a certificate's files, a Unix socket and a store take beyond those. */
function denoRights({ UNIX, STORE, TLS_CERT, TLS_KEY }: Env): string[] {
  const isFile = (value: unknown) => String(value).startsWith("/");
  const write = [UNIX, STORE].filter(isFile);
  const read = [TLS_CERT, TLS_KEY].filter(isFile).concat(write);
  return [
    ...read.length > 0 ? [`--allow-read=${read.join()}`] : [],
    ...write.length > 0 ? [`--allow-write=${write.join()}`] : [],
  ];
}

/**
 * Those of `deno task start`; in another folder than that of deno.json, its data
 * folder is that folder's.
 */
const appRights = [
  "run",
  "-q",
  "--no-prompt",
  `--config=${path.join(root, "deno.json")}`,
  "-P=server",
  "--allow-read=./data",
  "--allow-write=./data",
];

export const fixture = "proof/support/fixture.ts";
export const app = "src/main.ts";

/** The command line that runs one of our own source files. */
export async function commandFor(
  source: string,
  env: Env = {},
): Promise<string[]> {
  if (runtime === "deno") {
    const rights = source === app
      ? appRights
      : [...denoRun, ...denoRights(env)];
    return [executable, ...rights, path.join(root, source)];
  }
  if (runtime === "bun") return [executable, path.join(root, source)];
  return [executable, "--enable-source-maps", await bundle(source)];
}

export async function spawnFixture(
  env: Env = {},
): Promise<ServerProcess> {
  return new ServerProcess(await commandFor(fixture, env), { env });
}

export async function startFixture(
  env: Env = {},
): Promise<ServerProcess> {
  return await (await spawnFixture(env)).listening();
}

const bundles = new Map<string, Promise<string>>();
let scratch: string | undefined;

/** A folder of ours, until `removeScratch`. */
export function scratchFolder(): string {
  return scratch ??= fs.mkdtempSync(path.join(os.tmpdir(), "lastcall-"));
}

export function removeScratch(): void {
  if (scratch) fs.rmSync(scratch, { recursive: true, force: true });
  // Bun runs all files in one process: the next one starts anew.
  scratch = undefined;
  bundles.clear();
}

/** A folder for PATH, where the runtime under test has its usual name. */
export function binFolder(): string {
  const folder = path.join(scratchFolder(), "bin");
  if (!fs.existsSync(folder)) {
    fs.mkdirSync(folder);
    fs.symlinkSync(executable, path.join(folder, runtime));
  }
  return folder;
}

/** Node runs what users deploy: one bundle, made once per file. */
function bundle(source: string): Promise<string> {
  const made = bundles.get(source) ?? runEsbuild(source);
  bundles.set(source, made);
  return made;
}

async function runEsbuild(source: string): Promise<string> {
  const name = path.basename(source, ".ts") + ".mjs";
  const outfile = path.join(scratchFolder(), name);
  const esbuild = new Process([
    process.execPath,
    path.join(root, "scripts/build.js"),
    source,
    outfile,
  ]);
  const { code } = await esbuild.exited;
  if (code !== 0) throw new Error(`esbuild: ${esbuild.describe()}`);
  return outfile;
}

function childEnv(extra: Env) {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    // The switches of the test run itself are not the server's business.
    if (/^(LASTCALL_|NODE_TEST|PORT$|HOST$)/.test(name)) continue;
    if (value !== undefined) env[name] = value;
  }
  for (const [name, value] of Object.entries({ PORT: 0, ...extra })) {
    env[name] = String(value);
  }
  return env;
}

function parse(text: string): Line["json"] {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function has({ json }: Line, fields: object): boolean {
  return Object.entries(fields).every(([name, value]) =>
    json?.[name] === value
  );
}
