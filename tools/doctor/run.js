// `npm run doctor` and `bun run doctor`. Node 20 reads no TypeScript, so there it
// is bundled first; what it knows of the app's defaults is the app's own code.

import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

if (process.versions["bun"]) await import("./main.ts");
else {
  const { build, forNode } = await import("../../scripts/bundle.js");
  const outfile = join(
    import.meta.dirname,
    "../../node_modules/.cache/lastcall-doctor/main.mjs",
  );
  const entryPoints = [join(import.meta.dirname, "main.ts")];
  const built = build({
    ...forNode,
    entryPoints,
    outfile,
    packages: "external",
  });
  if (built) await import(pathToFileURL(outfile).href);
  else process.exitCode = 1;
}
