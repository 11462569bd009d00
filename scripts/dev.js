// `npm run dev` and `bun run dev`: a server that starts anew with every change.
// A mistake ends nothing: esbuild tells its message and place, and the next save
// mends it; so does the next save after the app has ended by itself.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { context } from "esbuild";
import { app, root } from "./bundle.js";
import { answerHelp } from "./help.js";

answerHelp(`The server, started anew with every change; it reads .env.

  npm run dev                       or bun run dev, deno task dev
  npm run dev -- --print-config     what the server is told, and by whom
`);

const isBun = process.versions["bun"] !== undefined;

/** @type {import("node:child_process").ChildProcess | undefined} */
let server;
/** A build has succeeded since the server was started. */
let isStale = false;
let isLeaving = false;

function start() {
  isStale = false;
  // Node 20 has no --env-file-if-exists.
  const env = existsSync(join(root, ".env")) ? ["--env-file=.env"] : [];
  const maps = isBun ? [] : ["--enable-source-maps"];
  const main = isBun ? "src/main.ts" : app.outfile;
  const args = [...env, ...maps, main, ...process.argv.slice(2)];
  server = spawn(process.execPath, args, { cwd: root, stdio: "inherit" });
  server.on("exit", (code, signal) => {
    server = undefined;
    if (isLeaving) process.exit(code ?? 1);
    if (isStale) start();
    else {
      const how = signal ? `was ended by ${signal}` : `ended with ${code}`;
      console.error(
        `\nThe server ${how}; it starts again with the next change.`,
      );
    }
  });
}

const watching = await context({
  ...app,
  plugins: [{
    name: "start",
    setup(build) {
      build.onEnd(({ errors }) => {
        // The old one serves on until what was saved can be built.
        if (errors.length > 0 || isLeaving) return;
        if (!server) return start();
        isStale = true;
        server.kill("SIGTERM");
      });
    },
  }],
});
await watching.watch();

/** @param {NodeJS.Signals} signal */
function leave(signal) {
  isLeaving = true;
  if (!server) process.exit(0);
  // A terminal's Ctrl-C reaches the server by itself; a SIGTERM comes here alone.
  if (signal !== "SIGINT") server.kill(signal);
}
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => leave(signal));
}
