import { assertEquals } from "@std/assert";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, afterEach, test } from "node:test";
import { killAll, removeScratch } from "../support/server_process.ts";
import { command, devCommand, portOf, projectWith } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

test(`${devCommand} survives a syntax error, and an app that ends itself`, {
  timeout: 60_000,
}, async () => {
  const folder = projectWith();
  const file = path.join(folder, "src/app.ts");
  const good = fs.readFileSync(file, "utf8");
  const server = command(devCommand, { LOG_FORMAT: "json" }, folder);
  const listening = (nth: number) =>
    server.line(
      "server listening",
      ({ json }) => json?.message === "server listening",
      nth,
    );
  const says = (words: RegExp) =>
    server.line(String(words), ({ text }) => words.test(text));
  /** Saves, and saves again: a watcher that is still starting sees no change. */
  const save = async (text: string, seen: Promise<unknown>) => {
    fs.writeFileSync(file, text);
    const again = setInterval(() => fs.writeFileSync(file, text + "\n"), 3000);
    await seen.finally(() => clearInterval(again));
  };

  await portOf(server);
  assertEquals(server.printed("server listening").length, 1, "one start");
  await save(good + "\nconst = 1;\n", says(/app\.ts:\d+:\d+/));
  await save(good, listening(2));
  await save(good + '\nthrow new Error("on purpose");\n', says(/on purpose/));
  await says(/starts again with the next change|Restarting on file change/);
  await save(good, listening(3));
});
