import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import * as net from "node:net";
import process from "node:process";
import { after, afterEach, test } from "node:test";
import { RawClient, text } from "../support/raw_client.ts";
import {
  killAll,
  type Process,
  removeScratch,
} from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

/** On a connection of its own, so that none is kept. */
async function ask(port: number, path: string): Promise<[number, string]> {
  const client = await RawClient.connect(port);
  const response = await client.get(path);
  client.leave();
  return [response.status, text(response)];
}

/** The report is the last line, and the only one of its kind. */
async function ended(server: Process, code: number) {
  const exit = await server.exited;
  assertEquals([exit.code, exit.signal], [code, null], server.describe());
  const report = server.report();
  assertEquals(server.printed("shutdown finished").length, 1);
  assertEquals(server.output("stderr"), "");
  return report;
}

test("without ADMIN_PORT there is no admin server, and no /metrics", async () => {
  const server = await start();
  const port = await portOf(server);
  assertEquals((await ask(port, "/readyz"))[0], 200);
  assertEquals((await ask(port, "/metrics"))[0], 404);
  server.signal("SIGTERM");
  const { hooks } = await ended(server, 0);
  assertEquals(hooks.some(({ name }) => name === "admin server"), false);
  assertEquals(server.printed("admin server listening"), []);
});

test("the admin server tells how the drain of the app goes", async () => {
  const server = await start({ ADMIN_PORT: 0 });
  const admin = await portOf(server, "admin server listening");
  const port = await portOf(server);
  const [healthy, checked] = await ask(admin, "/readyz");
  assertEquals(healthy, 200);
  assertEquals(JSON.parse(checked).status, "serving");

  const poster = await RawClient.connect(admin);
  await poster.send("POST", "/metrics");
  const refused = await poster.response();
  assertEquals(refused.status, 405);
  assertEquals(refused.headers.get("allow"), "GET, HEAD, OPTIONS");
  poster.leave();

  const client = await RawClient.connect(port);
  await client.send("GET", "/slow?ms=700");
  // Answered after the slow one was read.
  assertEquals((await ask(port, "/"))[0], 200);
  assertMatch(
    (await ask(admin, "/metrics"))[1],
    /^http_requests_in_flight 1$/m,
  );

  server.signal("SIGTERM");
  await server.logged("shutdown began");
  const [status, ready] = await ask(admin, "/readyz");
  assertEquals(status, 503);
  assertMatch(ready, /^{"status":"(draining|closing)","checks":{}}$/);
  assertEquals((await ask(admin, "/livez"))[0], 200);
  const [, metrics] = await ask(admin, "/metrics");
  assertMatch(metrics, /^http_requests_in_flight 1$/m);
  assertMatch(metrics, /^server_phase{phase="(draining|closing)"} 1$/m);
  assertMatch(
    metrics,
    /^http_requests_total{method="GET",route="\/",status="200"} 1$/m,
  );

  assertEquals((await client.response()).status, 200);
  const report = await ended(server, 0);
  // What was opened first is closed last.
  assertEquals(report.hooks.at(-1)?.name, "admin server");
  assertEquals(
    report.requests.inFlight,
    1,
    "scrapes are no requests of the app",
  );
});

test("the admin server outlives every hook, and says which check fails", async () => {
  const server = await start({}, "proof/app/admin_fixture.ts");
  const admin = await portOf(server, "admin server listening");
  const port = await portOf(server);
  const [status, ready] = await ask(admin, "/readyz");
  assertEquals(status, 503);
  const { checks } = JSON.parse(ready);
  assertEquals(checks.database.error, "no route to host");

  server.signal("SIGTERM");
  await server.logged("hook waits");
  await assertRejects(() => RawClient.connect(port));
  assertEquals(await ask(admin, "/readyz"), [
    503,
    '{"status":"cleanup","checks":{}}',
  ]);
  assertMatch((await ask(admin, "/metrics"))[1], /phase="cleanup"/);
  process.kill(server.pid, "SIGUSR2");
  const report = await ended(server, 0);
  assertEquals(report.hooks.map(({ name }) => name), ["held", "admin server"]);
  await assertRejects(() => RawClient.connect(admin));
});

test("an admin port that is taken is one sentence that names its variable", async () => {
  const other = net.createServer();
  await new Promise<void>((resolve) =>
    other.listen(0, "127.0.0.1", () => resolve())
  );
  try {
    const { port } = other.address() as net.AddressInfo;
    const server = await start({ ADMIN_PORT: port });
    const { json } = await server.logged("start-up failed");
    assertEquals(
      json?.error,
      `Port ${port} on 127.0.0.1 is in use by another process; ` +
        "stop that one, or choose a free port (ADMIN_PORT).",
    );
    assertEquals(json?.stack, undefined);
    await ended(server, 1);
    assert(server.printed("server listening").length === 0);
  } finally {
    await new Promise((resolve) => other.close(resolve));
  }
});
