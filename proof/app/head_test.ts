import { assertEquals } from "@std/assert";
import { after, afterEach, test } from "node:test";
import { killAll, removeScratch } from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

test("a HEAD tells the length that a GET would have, and sends none of it", async () => {
  const server = await start();
  const url = `http://127.0.0.1:${await portOf(server)}`;
  for (const path of ["/", "/nowhere"]) {
    const head = await fetch(url + path, { method: "HEAD" });
    assertEquals(await head.text(), "");
    const whole = await fetch(url + path);
    const { byteLength } = await whole.arrayBuffer();
    assertEquals(head.status, whole.status);
    assertEquals(Number(head.headers.get("Content-Length")), byteLength);
  }
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
});
