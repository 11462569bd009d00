/** Whether a server keeps what its clients have let go of. */
import process from "node:process";
import { assert } from "@std/assert";
import { delay } from "./expect.ts";
import { descriptorsOf } from "./proc.ts";
import {
  type Env,
  type ServerProcess,
  startFixture,
} from "./server_process.ts";

export const counts = process.platform === "linux";

/**
 * The descriptors of a server, once there are no more than `atMost` and none
 * went since the last look. What was closed on our side is closed there a little
 * later, and of that the kernel tells no third party: so look again a few times.
 */
export async function descriptors(
  server: ServerProcess,
  atMost = Infinity,
): Promise<string[]> {
  let now = counts ? descriptorsOf(server.pid) : [];
  for (let look = 0; look < 130 && counts; look++) {
    const before = now;
    await delay(100);
    now = descriptorsOf(server.pid);
    if (now.length <= atMost && now.length === before.length) break;
  }
  return now;
}

export async function assertDescriptors(
  server: ServerProcess,
  before: string[],
): Promise<void> {
  const now = await descriptors(server, before.length);
  assert(
    now.length <= before.length,
    `${before.length} descriptors became\n${now.join("\n")}`,
  );
}

/** A server that has served, so that what it opens once is open. */
export async function startCounted(
  env: Env = {},
): Promise<{ server: ServerProcess; before: string[] }> {
  const server = await startFixture(env);
  const client = await server.connect();
  await client.get("/");
  client.halfClose();
  await client.closed;
  return { server, before: await descriptors(server) };
}
