/** The app itself as a process, with the rights that its start task has. */
import * as fs from "node:fs";
import * as path from "node:path";
import {
  commandFor,
  executable,
  root,
  runtime,
  ServerProcess,
} from "../contract/server_process.ts";

const source = "src/main.ts";

export async function spawnApp(
  env: Record<string, string | number>,
  cwd?: string,
): Promise<ServerProcess> {
  const command = runtime === "deno" ? denoTask() : await commandFor(source);
  const all = { HOST: "127.0.0.1", ...env };
  return new ServerProcess(command, { env: all, ...(cwd ? { cwd } : {}) });
}

/** The app, listening. */
export async function startApp(
  env: Record<string, string | number>,
  cwd?: string,
): Promise<ServerProcess> {
  const server = await spawnApp(env, cwd);
  const { json } = await server.logged("server listening");
  server.url = String(json?.url);
  server.port = Number(new URL(server.url).port);
  return server;
}

/** As `deno task start` runs it, its folder for data aside. */
function denoTask(): string[] {
  const text = fs.readFileSync(path.join(root, "deno.json"), "utf8");
  const [, ...args] = String(JSON.parse(text).tasks.start).split(" ");
  const main = args.indexOf(source);
  args[main] = path.join(root, source);
  return [executable, ...args.toSpliced(1, 0, "--no-prompt")];
}
