/** What a unit's ExecStartPost runs. */
import { assertEquals, assertMatch } from "@std/assert";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { afterEach, test } from "node:test";
import {
  type Env,
  executable,
  killAll,
  Process,
  runtime,
} from "../support/server_process.ts";

const rights = ["--no-prompt", "--allow-net", "--allow-env", "--allow-run"];
const command = [
  executable,
  ...runtime === "deno" ? ["run", ...rights] : [],
  "deploy/ready.js",
];
const start = (env: Env) => new Process(command, { env });

afterEach(killAll);

test("waits until the server is ready, and no longer", async () => {
  const answers = [503, 503, 200];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(String(request.url));
    response.writeHead(answers[asked.length - 1] ?? 500).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const PORT = (server.address() as AddressInfo).port;
  const waiting = start({ PORT, HOST: "0.0.0.0", MAINPID: process.pid });
  const { code } = await waiting.exited;
  server.close();
  assertEquals(code, 0, waiting.describe());
  assertEquals(asked, ["/readyz", "/readyz", "/readyz"]);
});

test("fails where the server has ended", async () => {
  const server = new Process([executable, "--version"]);
  await server.exited;
  // Nothing listens on this port of ours.
  const waiting = start({ PORT: 1, MAINPID: server.pid });
  assertEquals((await waiting.exited).code, 1, waiting.describe());
  assertEquals(
    waiting.output("stderr").trim(),
    "The server has ended before it was ready; see its log.",
  );
});

test("over TLS it asks the admin port, or says why it cannot", async () => {
  const blind = start({ PORT: 3000, TLS_CERT: "cert.pem" });
  assertEquals((await blind.exited).code, 1);
  assertMatch(blind.output("stderr"), /^TLS_CERT is set, .+ ADMIN_PORT/);

  const server = createServer((_, response) => response.end())
    .listen(0, "127.0.0.1");
  await once(server, "listening");
  const ADMIN_PORT = (server.address() as AddressInfo).port;
  const waiting = start({ PORT: 1, TLS_CERT: "cert.pem", ADMIN_PORT });
  assertEquals((await waiting.exited).code, 0, waiting.describe());
  server.close();
});
