/** A Host that is none is refused, before it can choose a path or break a URL. */
import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { after, afterEach, test } from "node:test";
import { RawClient } from "../support/raw_client.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const none = [
  "localhost/events?",
  "localhost/",
  "user@localhost",
  "localhost:x",
  "localhost:99999",
  "[",
  "[::1",
  "::1",
  "%zz",
  "a.1",
  "1.2.3.256",
  "a b",
  "localhost\r\nHost: other.example",
];
const good = [
  "localhost",
  "LOCALHOST:80",
  "a_b.example",
  "127.0.0.1:3000",
  "[::1]:3000",
];

test("a Host that is none is a 400, whatever the method and the body", async () => {
  const server = await start({ DATABASE_URL: "" });
  const port = await portOf(server);
  const ask = async (host: string, head: string, body = "") => {
    const client = await RawClient.connect(port);
    const bytes = `${head} HTTP/1.1\r\nHost: ${host}\r\n${body}\r\n`;
    await client.write(Buffer.from(bytes));
    const { status } = await client.response();
    client.leave();
    return status;
  };
  const chunked = "Transfer-Encoding: chunked\r\n\r\n0\r\n";
  for (const host of none) {
    assertEquals(await ask(host, "GET /"), 400, host);
    assertEquals(await ask(host, "DELETE /", chunked), 400, host);
  }
  for (const host of good) assertEquals(await ask(host, "GET /"), 200, host);
  server.signal("SIGTERM");
  const { code } = await server.exited;
  assertEquals(code, 0, server.describe());
  const errors = server.lines.filter(({ json }) => json?.level === "error");
  assertEquals(errors, []);
});

test("the access line says who the client is, as far as proxies are trusted", async () => {
  for (
    const [TRUSTED_PROXIES, client] of [
      ["", "127.0.0.1"],
      ["loopback", "192.0.2.7"],
    ] as const
  ) {
    const server = await start({ DATABASE_URL: "", TRUSTED_PROXIES });
    const headers = { "X-Forwarded-For": "6.6.6.6, 192.0.2.7" };
    await fetch(`http://127.0.0.1:${await portOf(server)}/`, { headers });
    await server.logged("request answered", { path: "/", client });
    server.signal("SIGTERM");
    await server.exited;
  }
});
