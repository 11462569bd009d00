/** Runs the drill as it is shipped, and reads what it wrote. */
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import type { Drill } from "../../tools/drill/drill.js";
import { executable, Process, root, runtime } from "./server_process.ts";

/** Under the root, where the shipped permissions let it write. */
export const folder = path.join("dist", `drill-${runtime}-${process.pid}`);
const json = path.join(folder, "drill.json");
const html = path.join(folder, "drill.html");
export const outputs = ["--json", json, "--html", html];
export function makeFolder(): void {
  fs.mkdirSync(path.join(root, folder), { recursive: true });
}
export function removeFolder(): void {
  fs.rmSync(path.join(root, folder), { recursive: true, force: true });
}

/** The task's own permissions, from deno.json. */
export function drillCommandLine(): string[] {
  if (runtime !== "deno") return [executable, "tools/drill/main.js"];
  const { tasks } = JSON.parse(
    fs.readFileSync(path.join(root, "deno.json"), "utf8"),
  );
  return [executable, ...String(tasks.drill).split(" ").slice(1)];
}

export interface Drilled {
  code: number | null;
  output: string;
  errors: string;
  seen: Omit<Drill, "requests" | "connections">;
  /** Where the picture is. */
  page: string;
}

export async function run(command: string[], args: string[]): Promise<Drilled> {
  makeFolder();
  fs.rmSync(path.join(root, json), { force: true });
  const tool = new Process([...command, ...args]);
  const { code } = await tool.exited;
  const written = fs.existsSync(path.join(root, json));
  return {
    code,
    output: tool.output(),
    errors: tool.output("stderr"),
    page: path.join(root, html),
    seen: written
      ? JSON.parse(fs.readFileSync(path.join(root, json), "utf8"))
      : undefined,
  };
}

export function drill(...args: string[]): Promise<Drilled> {
  return run(drillCommandLine(), [...outputs, ...args]);
}

export const quoted = (words: string[]) =>
  words.map((word) => JSON.stringify(word)).join(" ");

export function badServer(how: string): string[] {
  const rights = runtime === "deno"
    ? ["run", "--allow-net", "--allow-env"]
    : [];
  const file = path.join(root, "tools/drill/bad_server.js");
  return [executable, ...rights, file, how];
}

/** One short restart of a server that is bad in this way. */
export function drillBad(how: string, ...args: string[]): Promise<Drilled> {
  return drill(
    ...["--command", quoted(badServer(how)), "--restarts", "1"],
    ...["--between", "0.4", ...args],
  );
}
