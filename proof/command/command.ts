/** The built command `lastcall`, in folders with nothing of the repository around. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import {
  type Env,
  executable,
  Process,
  root,
  runtime,
} from "../support/server_process.ts";
import { which } from "../../scripts/which.js";

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "lastcall-command-"));
let count = 0;
let built: string | undefined;

/** A new empty folder. */
export function folder(): string {
  const made = path.join(scratch, `f${++count}`);
  fs.mkdirSync(made, { recursive: true });
  return made;
}

export function removeFolders(): void {
  fs.rmSync(scratch, { recursive: true, force: true });
  // Bun's next file has the same modules.
  built = undefined;
}

/** The one file; only Node has esbuild. */
export function command(): string {
  if (built) return built;
  const node = runtime === "node" ? process.execPath : which("node")!;
  const code = 'import("./tools/command/pack.js")' +
    ".then(async (m) => process.stdout.write(await m.ownText()))";
  const text = execFileSync(node, ["-e", code], {
    cwd: root,
    maxBuffer: 1e8,
    encoding: "utf8",
  });
  built = path.join(folder(), "lastcall.js");
  fs.writeFileSync(built, text);
  // A package says that it is a module.
  fs.writeFileSync(
    path.join(path.dirname(built), "package.json"),
    '{"type":"module"}\n',
  );
  return built;
}

export interface Ran {
  code: number | null;
  /** What it printed, on both streams. */
  text: string;
}

export function spawned(
  file: string,
  args: string[],
  cwd: string,
  env: Env = {},
): Process {
  const rights = runtime === "deno" ? ["run", "--allow-all", "--no-lock"] : [];
  return new Process([executable, ...rights, file, ...args], { cwd, env });
}

/** Runs the command to its end. */
export async function lastcall(
  args: string[],
  cwd: string,
  env: Env = {},
  file: string = command(),
): Promise<Ran> {
  return await seenOut(spawned(file, args, cwd, env));
}

export async function seenOut(run: Process): Promise<Ran> {
  const { code } = await run.exited;
  return { code, text: run.output() + run.output("stderr") };
}

export function git(cwd: string, ...args: string[]): string {
  const who = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
  return execFileSync("git", [...who, ...args], {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
}

/** The project's own commands, as its README says. */
export const scripts = {
  deno: { install: undefined, run: "deno task" },
  bun: { install: "bun install --frozen-lockfile", run: "bun run" },
  node: { install: "npm ci --no-audit --no-fund", run: "npm run" },
}[runtime];

/** A command line in a project, to its end. */
export async function shell(line: string, cwd: string): Promise<Ran> {
  return await seenOut(new Process(["sh", "-c", line], { cwd }));
}

export function read(project: string, file: string): string {
  return fs.readFileSync(path.join(project, file), "utf8");
}

export function write(project: string, file: string, text: string): void {
  fs.mkdirSync(path.dirname(path.join(project, file)), { recursive: true });
  fs.writeFileSync(path.join(project, file), text);
}

/** Its files, without those that git ignores. */
export function filesOf(project: string): string[] {
  return git(project, "ls-files").trim().split("\n");
}

export const noCommand = runtime !== "node" && !which("node")
  ? "only Node can build the command"
  : false;
