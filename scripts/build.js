// Builds dist/main.js: one self-contained file for Node, source map beside it.
// `node scripts/build.js other.ts other.mjs` does the same for another file.

import process from "node:process";
import { app, build } from "./bundle.js";

const [source = app.entryPoints[0], outfile = app.outfile] = process.argv.slice(
  2,
);
if (!build({ ...app, entryPoints: [source], outfile })) process.exitCode = 1;
