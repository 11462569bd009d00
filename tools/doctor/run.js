// `npm run doctor` and `bun run doctor`. Node 20 reads no TypeScript, so there it
// is bundled first; what it knows of the app's defaults is the app's own code.

import { join } from "node:path";
import process from "node:process";

if (process.versions["bun"]) await import("./main.ts");
else {
  const { build } = await import("esbuild");
  const outfile = join(
    import.meta.dirname,
    "../../node_modules/.cache/lastcall-doctor/main.mjs",
  );
  await build({
    entryPoints: [join(import.meta.dirname, "main.ts")],
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
    logLevel: "warning",
  });
  await import(outfile);
}
