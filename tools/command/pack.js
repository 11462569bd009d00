// The command as one file, and the package that it comes in.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readProject } from "./files.js";
import { isBuilt, templateOf, withTemplate } from "./template.js";

const root = join(import.meta.dirname, "../..");

/** The text of this command's one file. */
export async function ownText() {
  return isBuilt()
    ? readFileSync(import.meta.filename, "utf8")
    : await builtText();
}

async function builtText() {
  const { buildSync } = await import("esbuild");
  const { forNode } = await import("../../scripts/bundle.js");
  const page = join(root, "tools/drill/page");
  const { outputFiles: [file] } = buildSync({
    ...forNode,
    entryPoints: ["tools/command/main.js"],
    banner: { js: `#!/usr/bin/env node\n${forNode.banner.js}` },
    external: ["esbuild", "../../scripts/*"],
    minify: true,
    sourcemap: false,
    write: false,
    define: {
      // Every module would think that it is the program.
      "import.meta.main": "false",
      "globalThis.DRILL_PAGE": JSON.stringify(
        Object.fromEntries(readProject(page)),
      ),
    },
  });
  return withTemplate(file?.text ?? "", templateOf(readProject(root)));
}
