/**
 * Two hosts, as network namespaces with a cable between them. The cable is pulled
 * while a request is on it: nothing comes any more, no reset and no goodbye, and
 * the drain must end by its deadline all the same.
 */
import { assert, assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { after, afterEach, describe, test } from "node:test";
import {
  commandFor,
  fixture,
  killAll,
  Process,
  removeScratch,
  ServerProcess,
} from "../support/server_process.ts";

const SERVER = `lastcall-${process.pid}-s`;
const CLIENT = `lastcall-${process.pid}-c`;
const ADDRESS = "10.213.7.1";
const DRAIN_TIMEOUT = 1500;

function ip(line: string): void {
  execFileSync("ip", line.split(" "), { stdio: "pipe" });
}

/** Why this machine cannot play two hosts, if so. */
function layCable(): string | undefined {
  try {
    ip(`netns add ${SERVER}`);
    ip(`netns add ${CLIENT}`);
    ip(`-n ${SERVER} link add cable type veth peer name cable netns ${CLIENT}`);
    ip(`-n ${SERVER} address add ${ADDRESS}/24 dev cable`);
    ip(`-n ${CLIENT} address add 10.213.7.2/24 dev cable`);
    // As on every host: a server that leaves knocks at its own door.
    ip(`-n ${SERVER} link set lo up`);
    ip(`-n ${SERVER} link set cable up`);
    ip(`-n ${CLIENT} link set cable up`);
  } catch (error) {
    const [line] = (error as Error).message.split("\n").reverse();
    return `no network namespaces here: ${line || (error as Error).message}`;
  }
}

const skip = layCable() ?? false;

afterEach(killAll);
after(() => {
  for (const name of [SERVER, CLIENT]) {
    try {
      ip(`netns delete ${name}`);
    } catch {
      // It could not be made.
    }
  }
  removeScratch();
});

/** The server on one host, and a client on the other: a shell, in bash's words. */
async function setup(script: string, ready: string) {
  ip(`-n ${CLIENT} link set cable up`);
  const server = await new ServerProcess(
    ["ip", "netns", "exec", SERVER, ...await commandFor(fixture)],
    { env: { HOST: ADDRESS, DRAIN_TIMEOUT_MS: DRAIN_TIMEOUT } },
  ).listening();
  const connect = `exec 3<>/dev/tcp/${ADDRESS}/${server.port}`;
  // It must not end by itself: an exit would be a goodbye.
  const wait = "read -r _";
  const client = new Process(
    [
      "ip",
      "netns",
      "exec",
      CLIENT,
      "bash",
      "-c",
      `${connect}; ${script}; ${wait}`,
    ],
  );
  await client.line(ready, ({ text }) => text === ready);
  return server;
}

function pullCable(): void {
  ip(`-n ${CLIENT} link set cable down`);
}

describe("when the cable is pulled", { skip }, () => {
  test("mid-response, the drain ends at its deadline", async () => {
    const server = await setup(
      "printf 'GET /big-stream?mb=30 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; " +
        "head -c 100000 <&3 >/dev/null; echo received some",
      "received some",
    );
    pullCable();
    await endsAtDeadline(server, "GET", "/big-stream");
  });

  test("mid-upload, the drain ends at its deadline", async () => {
    const server = await setup(
      "printf 'POST /upload HTTP/1.1\\r\\nHost: a\\r\\n" +
        "Content-Length: 1000000\\r\\n\\r\\nthe beginning' >&3; echo sent some",
      "sent some",
    );
    await server.event("handling", { path: "/upload" });
    pullCable();
    await endsAtDeadline(server, "POST", "/upload");
  });

  test("on a kept connection without a request, nothing is waited for", async () => {
    const server = await setup(
      "printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; " +
        "head -c 12 <&3; echo; echo answered",
      "answered",
    );
    pullCable();
    server.signal("SIGTERM");
    const exit = await server.exited;
    assertEquals(exit.code, 0, server.describe());
    assertEquals(server.report().outcome, "clean");
  });
});

async function endsAtDeadline(
  server: ServerProcess,
  method: string,
  path: string,
): Promise<void> {
  server.signal("SIGTERM");
  const exit = await server.exited;
  const report = server.report();
  assertEquals(exit.code, 1, server.describe());
  assertEquals(report.outcome, "timeout");
  assertEquals(
    report.requests.cut.map(({ method, path }) => ({ method, path })),
    [{ method, path }],
  );
  const closing = report.phases.find(({ phase }) => phase === "closing");
  assert(closing && closing.ms >= DRAIN_TIMEOUT - 1, `${closing?.ms} ms`);
  // What the budget grants beyond the deadlines, and whoever kills it with it.
  const budget = DRAIN_TIMEOUT + 250 + 2000 + 5000;
  assert(exit.msSinceSignal < budget, `exit after ${exit.msSinceSignal} ms`);
}
