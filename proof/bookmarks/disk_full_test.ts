/** The disk under SQLite is full: a small one of our own, where that may be had. */
import { after, afterEach, test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { RawClient } from "../support/raw_client.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import { startApp } from "./app_process.ts";
import { sqlite } from "../../tests/bookmarks/databases.ts";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "lastcall-disk-"));

function mount(): string | false {
  if (!sqlite) return "this runtime has no node:sqlite";
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], {
      stdio: "pipe",
    });
    return false;
  } catch (error) {
    return `no disk of our own here: ${(error as Error).message}`;
  }
}

const skip = mount();
afterEach(killAll);
after(() => {
  removeScratch();
  if (!skip) execFileSync("umount", [folder]);
  fs.rmdirSync(folder);
});

test("a full disk shows in /readyz and in the log, and passes", {
  skip,
  timeout: 60_000,
}, async () => {
  fs.mkdirSync(path.join(folder, "data"));
  const url = "sqlite:./data/bookmarks.db";
  const server = await startApp({ DATABASE_URL: url }, folder);
  const client = await RawClient.connect(server.port);
  const readiness = async () => (await client.get("/readyz")).status;
  const body = JSON.stringify({ url: "https://hono.dev/", title: "Hono" });
  const headers = { "Content-Type": "application/json" };
  const post = async () => {
    await client.send("POST", "/bookmarks", { body, headers });
    return (await client.response()).status;
  };
  assertEquals(await readiness(), 200);
  assertEquals(await post(), 201);

  // The audit line waits, and finds no room any more.
  const rest = fs.openSync(path.join(folder, "rest"), "w");
  const page = new Uint8Array(4096);
  try {
    while (fs.writeSync(rest, page) === page.length);
  } catch (error) {
    assertEquals((error as { code?: string }).code, "ENOSPC");
  }
  const lost = await server.logged("audit lines not saved");
  assertEquals(lost.json?.error, "database or disk is full");
  while (await readiness() === 200);
  const { json } = await server.logged("check failed");
  assertEquals(json?.error, "database or disk is full");
  assertEquals(await post(), 500);
  const failed = await server.logged("request failed");
  assertEquals(failed.json?.error, "database or disk is full");
  // What is there can be read.
  assertEquals((await client.get("/bookmarks")).status, 200);

  fs.ftruncateSync(rest);
  fs.closeSync(rest);
  while (await readiness() !== 200);
  assertEquals(await post(), 201);
  client.leave();
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
  assert(server.printed("check recovered").length === 1);
});
