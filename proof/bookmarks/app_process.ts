/** The app itself as a process, with the rights that its start task has. */
import { app, commandFor, ServerProcess } from "../support/server_process.ts";

export async function spawnApp(
  env: Record<string, string | number>,
  cwd?: string,
): Promise<ServerProcess> {
  const all = { HOST: "127.0.0.1", ...env };
  const command = await commandFor(app);
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
