// Builds dist/main.js: one self-contained file for Node, source map beside it.
// With --watch: builds on every change and lets Node start it anew.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";

const outfile = "dist/main.js";

/** @type {esbuild.BuildOptions} */
const options = {
  absWorkingDir: import.meta.dirname,
  entryPoints: ["src/main.ts"],
  outfile,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  // ws is CommonJS, and asks for Node's own modules in its way.
  banner: {
    js: 'import { createRequire } from "node:module";' +
      "const require = createRequire(import.meta.url);",
  },
  sourcemap: true,
  logLevel: "warning",
};

await esbuild.build(options);

if (process.argv.includes("--watch")) {
  const watching = await esbuild.context(options);
  await watching.watch();

  // Node 20 has no --env-file-if-exists.
  const env = existsSync(join(import.meta.dirname, ".env"))
    ? ["--env-file=.env"]
    : [];
  const node = spawn("node", ["--watch", ...env, outfile], {
    cwd: import.meta.dirname,
    stdio: "inherit",
  });
  // Ctrl-C reaches Node by itself; we only have to outlive it. A SIGTERM comes
  // to us alone.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => node.kill("SIGTERM"));
  node.on("exit", (code) => process.exit(code ?? 1));
}
