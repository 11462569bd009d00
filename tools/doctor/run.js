// `npm run doctor`, `bun run doctor`, `deno task doctor`. Node 20 reads no
// TypeScript, so there it is bundled first.

import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

const { main } = await doctor();
process.exitCode = main(process.argv.slice(2));

/** @returns {Promise<typeof import("./main.ts")>} */
async function doctor() {
  const { bun, deno } =
    /** @type {Record<string, string>} */ (process.versions);
  if (bun || deno) return await import("./main.ts");
  const { build, forNode } = await import("../../scripts/bundle.js");
  const outfile = join(
    import.meta.dirname,
    "../../node_modules/.cache/lastcall-doctor/main.mjs",
  );
  const entryPoints = [join(import.meta.dirname, "main.ts")];
  const options = { ...forNode, entryPoints, outfile };
  if (!build({ ...options, packages: "external" })) process.exit(1);
  return await import(pathToFileURL(outfile).href);
}
