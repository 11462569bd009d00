/** Who reaches the admin port, and under which name. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import * as os from "node:os";
import { after, afterEach, test } from "node:test";
import { RawClient, text } from "../support/raw_client.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

/** Another address of this machine, where it has one. */
const other = Object.values(os.networkInterfaces()).flat()
  .find((one) => one?.family === "IPv4" && !one.internal)?.address;

test("the admin port is on the loopback address, wherever the app listens", async () => {
  const server = await start({ HOST: "0.0.0.0", ADMIN_PORT: 0 });
  const admin = await portOf(server, "admin server listening");
  const port = await portOf(server);
  const client = await RawClient.connect(admin);
  assertEquals((await client.get("/livez")).status, 200);
  if (other) {
    (await RawClient.connect(port, other)).leave();
    await assertRejects(() => RawClient.connect(admin, other));
  }
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
});

test("the admin port is where ADMIN_HOST says", { skip: !other }, async () => {
  const server = await start({ ADMIN_HOST: "0.0.0.0", ADMIN_PORT: 0 });
  const admin = await portOf(server, "admin server listening");
  const client = await RawClient.connect(admin, other);
  assertEquals((await client.get("/livez")).status, 200);
  client.leave();
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
});

test("a stranger's name for the admin port is refused, and learns nothing", async () => {
  const server = await start({ ADMIN_PORT: 0 });
  const admin = await portOf(server, "admin server listening");
  const ask = async (path: string, Host: string) => {
    const client = await RawClient.connect(admin);
    await client.send("GET", path, { headers: { Host } });
    const response = await client.response();
    client.leave();
    return response;
  };
  const known = ["localhost", "127.0.0.1", "10.1.2.3", "[::1]", "app1"];
  for (const name of known.flatMap((name) => [name, `${name}:${admin}`])) {
    assertEquals((await ask("/metrics", name)).status, 200, name);
  }
  const strange = [
    "evil.example",
    `evil.example:${admin}`,
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "localhost.",
    "a.b",
  ];
  for (const name of strange) {
    for (const path of ["/metrics", "/readyz", "/livez", "/nothing"]) {
      const response = await ask(path, name);
      // Node's address that is none is refused before us.
      assertMatch(String(response.status), /^4(00|21)$/, `${name} ${path}`);
      assertEquals(text(response).includes("http_"), false);
    }
  }
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
  assertEquals(server.printed("request failed"), []);
});

test("an ADMIN_HOST that is not ours is one sentence that names it", async () => {
  const server = await start({ ADMIN_HOST: "192.0.2.1", ADMIN_PORT: 0 });
  const { json } = await server.logged("start-up failed");
  assertMatch(String(json?.error), /; choose one that is.+ \(ADMIN_HOST\)\.$/);
  assertEquals((await server.exited).code, 1);
});

test("without DEMO nobody is kept waiting by /slow", async () => {
  const server = await start({ DEMO: "" });
  const client = await RawClient.connect(await portOf(server));
  assertEquals((await client.get("/slow?ms=60000")).status, 404);
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
});
