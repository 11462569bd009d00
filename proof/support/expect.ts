/**
 * What the tests of the contract expect of a server and its end, in the words
 * that they share.
 */
import { readFileSync } from "node:fs";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { RawClient, type RawResponse, text } from "./raw_client.ts";
import {
  commandFor,
  type Env,
  type Exit,
  fixture,
  type Process,
  type Report,
  runtime,
  ServerProcess,
  startFixture,
} from "./server_process.ts";

export const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

export const isNode = runtime === "node";
export const isDeno = runtime === "deno";
export const isBun = runtime === "bun";

/**
 * From this line of the log on every response says `Connection: close`. Node
 * can close its listener alone; Deno and Bun say it before they stop.
 */
export const retiring = isNode ? "listener closed" : "shutdown began";
export const stopsAtOnce =
  "its stop closes the listener and idle connections " +
  "together; it says Connection: close for the last 100 ms before that";

/** The process ended by itself with this code, silent on stderr. */
export async function ended(
  server: Process,
  code: number,
): Promise<{ exit: Exit; report: Report }> {
  const exit = await server.exited;
  assertEquals([exit.code, exit.signal], [code, null], server.describe());
  assertEquals(server.output("stderr"), "", "stderr");
  const report = server.report();
  assertEquals(report.exitCode, code, "the report's exit code");
  return { exit, report };
}

export async function endedClean(server: Process) {
  const result = await ended(server, 0);
  const { report } = result;
  assertEquals(report.outcome, "clean");
  assertEquals(report.requests.cut, []);
  assertEquals(report.errors, []);
  return result;
}

/** It says in one sentence why it cannot start, and closes what it opened. */
export async function failsToStart(
  env: Env,
  expected: RegExp,
  prefix: string[] = [],
): Promise<void> {
  const command = [...prefix, ...await commandFor(fixture, env)];
  const server = new ServerProcess(command, {
    env: { HOOKS: "db:ok", ...env },
  });
  const { json } = await server.logged("start-up failed");
  const { report } = await ended(server, 1);
  assertMatch(String(json?.error), expected);
  assertMatch(String(json?.error), /^[^\n]+\.$/, "one sentence");
  assertEquals(json?.stack, undefined, "a sentence, not a stack");
  assertEquals(report.outcome, "failed");
  assertEquals(report.hooks.map(({ name }) => name), ["db"]);
  assertEquals(server.printed("hook done").length, 1);
  assertEquals(server.printed("listening").length, 0);
}

/** How many bytes of one connection may wait in the kernel, at both ends. */
export function kernelHolds(): number {
  const largest = (name: string) =>
    Number(readFileSync(`/proc/sys/net/ipv4/${name}`, "utf8").split(/\s+/)[2]);
  try {
    return largest("tcp_rmem") + largest("tcp_wmem");
  } catch {
    return 32 * 1024 * 1024; // no Linux, or nobody may look
  }
}

export function assertWithin(ms: number, limit: number, what: string): void {
  assert(ms <= limit, `${what} took ${ms.toFixed(0)} ms, more than ${limit}`);
}

/** The machine may be busy, but what can be done once within `limit` can be. */
export async function bestOf(
  attempts: number,
  limit: number,
  what: string,
  measure: () => Promise<number>,
  least = 2,
): Promise<string> {
  const all: number[] = [];
  for (let i = 0; i < attempts; i++) {
    all.push(await measure());
    if (all.length >= least && Math.min(...all) <= limit) break;
  }
  assertWithin(Math.min(...all), limit, `${what}, at best,`);
  const sorted = all.toSorted((a, b) => a - b).map((ms) => ms.toFixed(0));
  return `${what}: ${sorted.join(", ")} ms (at most ${limit})`;
}

export async function assertRefused(port: number): Promise<void> {
  const error = await assertRejects(() => RawClient.connect(port), Error);
  assertEquals((error as Error & { code?: string }).code, "ECONNREFUSED");
}

export function saysClose(response: RawResponse): boolean {
  return response.headers.get("connection")?.toLowerCase() === "close";
}

/** Sends a body in pieces, each when the one before it is out. */
export async function sendInPieces(
  client: RawClient,
  body: Uint8Array,
  pieces: number,
  pause: number,
): Promise<void> {
  const size = Math.ceil(body.length / pieces);
  for (let at = 0; at < body.length; at += size) {
    await client.write(body.subarray(at, at + size));
    await delay(pause);
  }
}

export const postHead = (path: string, length: number) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`;

/**
 * The signal comes while a request takes so many milliseconds: it is answered
 * whole, and the exit is 0. Returns how long after its last byte that was.
 */
export async function endsAfterAnswer(
  server: ServerProcess,
  ms: number,
): Promise<number> {
  const busy = await server.connect();
  const slow = busy.get(`/slow?ms=${ms}`);
  await server.event("handling", { path: "/slow" });
  server.signal("SIGTERM");
  assertEquals(text(await slow), "slow but whole");
  const { exit } = await endedClean(server);
  return exit.at - busy.lastByteAt;
}

/** One request in flight at the signal: answered whole, closed, exit 0. */
export async function completes(
  request: (client: RawClient) => Promise<RawResponse>,
  {
    handling = {},
    check,
    env = {},
    limit = 1000,
    leaves = false,
    whileDraining = async () => {},
  }: {
    handling?: object;
    check: (response: RawResponse) => void;
    env?: Env;
    limit?: number;
    /** The client leaves as soon as it has its answer. */
    leaves?: boolean;
    whileDraining?: (
      client: RawClient,
      server: ServerProcess,
    ) => Promise<unknown>;
  },
): Promise<void> {
  const server = await startFixture(env);
  const client = await server.connect();
  const response = request(client);
  response.catch(() => {}); // awaited below
  await server.event("handling", handling);
  server.signal("SIGTERM");
  await server.logged("shutdown began");
  await whileDraining(client, server);
  check(await response);
  if (leaves) client.leave();
  else {
    const { how } = await client.closed;
    assertEquals(how, "fin", "how the connection ended");
  }
  const { exit } = await endedClean(server);
  assertWithin(exit.at - client.lastByteAt, limit, "the end after it");
}
