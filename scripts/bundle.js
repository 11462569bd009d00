// How TypeScript becomes one file for Node: the only esbuild configuration.

import { buildSync } from "esbuild";
import { join } from "node:path";

export const root = join(import.meta.dirname, "..");
/** @satisfies {import("esbuild").BuildOptions} */
export const forNode = {
  absWorkingDir: root,
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

/** @satisfies {import("esbuild").BuildOptions} */
export const app = {
  ...forNode,
  entryPoints: /** @type {[string]} */ (["src/main.ts"]),
  outfile: "dist/main.js",
};

/**
 * Whether it worked; esbuild itself has told what is wrong, and where.
 *
 * @param {import("esbuild").BuildOptions} options
 */
export function build(options) {
  try {
    buildSync(options);
    return true;
  } catch {
    return false;
  }
}
