import process from "node:process";
import { app, build } from "./bundle.js";
import { answerHelp } from "./help.js";

answerHelp(`Builds dist/main.js: one self-contained file for Node.

  npm run build                            src/main.ts
  npm run build -- other.ts dist/other.js  another file
`);

const [source = app.entryPoints[0], outfile = app.outfile] = process.argv.slice(
  2,
);
if (!build({ ...app, entryPoints: [source], outfile })) process.exitCode = 1;
