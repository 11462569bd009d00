/** The app itself, as a user starts it. */
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import {
  binFolder,
  commandFor,
  Process,
  root,
  runtime,
  scratchFolder,
  type SpawnOptions,
} from "../support/server_process.ts";
import { Terminal } from "../support/pty.ts";

/** The wrappers' own commands, and how their arguments reach the app. */
export const startCommand = {
  deno: "deno task start",
  bun: "bun run start",
  node: "npm start",
}[runtime];
export const startWith = (args: string) =>
  runtime === "node" ? `npm start -- ${args}` : `${startCommand} ${args}`;
export const devCommand = {
  deno: "deno task dev",
  bun: "bun run dev",
  node: "npm run dev",
}[runtime];

/** With the route that takes its time. */
const usual = { HOST: "127.0.0.1", DEMO: "true" };

/** The runtime under test is what the command finds. */
export function wrapped(
  env: SpawnOptions["env"] = {},
  cwd = root,
): SpawnOptions {
  const PATH = [binFolder(), process.env.PATH].join(path.delimiter);
  return { cwd, env: { ...usual, ...env, PATH } };
}

/** Through the shell, as from the command line. */
export function command(
  line: string,
  env: SpawnOptions["env"] = {},
  cwd = root,
): Process {
  return new Process(["sh", "-c", `exec ${line}`], wrapped(env, cwd));
}

export function terminal(
  line: string,
  env: SpawnOptions["env"] = {},
): Terminal {
  return new Terminal(line, wrapped(env));
}

/** One of our files, without a wrapper. */
export async function start(
  env: SpawnOptions["env"] = {},
  source = "src/main.ts",
): Promise<Process> {
  return new Process(await commandFor(source), {
    env: { ...usual, ...env },
  });
}

/** Where it listens, by its own log. */
export async function portOf(
  server: Process,
  message = "server listening",
): Promise<number> {
  const { json } = await server.logged(message);
  return Number(new URL(String(json?.url)).port);
}

/** A copy of what a start needs, with a .env in it. */
export function projectWith(env = ""): string {
  const folder = fs.mkdtempSync(path.join(scratchFolder(), "project-"));
  const names = [
    "src",
    "lastcall",
    "runtimes",
    "tests/std-assert",
    "package.json",
    "deno.json",
    "deno.lock",
    "bunfig.toml",
    "scripts",
  ];
  for (const name of names) {
    fs.cpSync(path.join(root, name), path.join(folder, name), {
      recursive: true,
    });
  }
  if (runtime !== "deno") {
    fs.symlinkSync(
      path.join(root, "node_modules"),
      path.join(folder, "node_modules"),
    );
  }
  fs.writeFileSync(path.join(folder, ".env"), env);
  return folder;
}
