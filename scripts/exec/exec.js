#!/usr/bin/env node
// `exec` for the shells of Windows, which have none: `npm start` says it for all
// others, where the shell becomes the server. This one stays in front of it.

import { spawn } from "node:child_process";
import process from "node:process";

const [command = "", ...args] = process.argv.slice(2);
const program = command === "node" ? process.execPath : command;
const child = spawn(program, args, { stdio: "inherit" });

// A Ctrl-C reaches the whole console: the server answers it, and this one waits.
for (const signal of /** @type {const} */ (["SIGINT", "SIGBREAK", "SIGHUP"])) {
  process.on(signal, () => {});
}
child.on("error", ({ message }) => {
  console.error(message);
  process.exit(127);
});
child.on("exit", (code) => process.exit(code ?? 1));
