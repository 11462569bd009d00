// The packages that npm gets: `npm run pack`; a maintainer publishes them.

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, posix } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { readText } from "./files.js";
import { ownText } from "./pack.js";

const HELP = `Makes the tarballs of lastcall and create-lastcall in dist/.

  npm run pack                       of the version in lastcall/engine.json
  npm run pack -- --version 1.2.3    of this one, which the changelog has to name

Then, by a maintainer:

  npm publish dist/lastcall-1.2.3.tgz
  npm publish dist/create-lastcall-1.2.3.tgz
`;

const root = join(import.meta.dirname, "../..");
const dist = join(root, "dist");
const ENGINE = "lastcall/engine.json";
const CHANGELOG = "lastcall/CHANGELOG.md";

/** What each runtime has in its own way, and all by one type. */
const ON_RUNTIME =
  'export { getConnInfo, isWebSocket, upgradeWebSocket } from "#runtime";';
const DECLARED =
  `export declare const getConnInfo: import("hono/conninfo").GetConnInfo;
export declare const isWebSocket: (c: import("hono").Context) => boolean;
export declare const upgradeWebSocket: import("hono/ws").UpgradeWebSocket<
  unknown,
  import("../runtimes/websocket.ts").UpgradeOptions
>;`;

process.exitCode = await main();

async function main() {
  /** @type {{ version?: string, help?: boolean }} */
  let values;
  try {
    const options = /** @type {const} */ ({
      version: { type: "string" },
      help: { type: "boolean", short: "h" },
    });
    ({ values } = parseArgs({ options }));
  } catch (error) {
    console.error(/** @type {Error} */ (error).message);
    return 2;
  }
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const engine = JSON.parse(readText(join(root, ENGINE)));
  const { version = String(engine.version) } = values;
  if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) {
    console.error(`--version is "${version}"; expected one such as 1.2.3.`);
    return 1;
  }
  const changelog = readText(join(root, CHANGELOG));
  if (!changelog.split("\n").includes(`## ${version}`)) {
    console.error(
      `${CHANGELOG} does not name ${version}; expected a chapter "## ${version}".`,
    );
    return 1;
  }
  if (version !== engine.version) {
    engine.version = version;
    writeFileSync(join(root, ENGINE), `${JSON.stringify(engine, null, 2)}\n`);
  }
  const mine = JSON.parse(readText(join(root, "package.json")));
  const common = {
    version,
    license: mine.license,
    type: "module",
    engines: mine.engines,
  };
  const folder = fresh("lastcall");
  writeFileSync(join(folder, "lastcall.js"), await ownText());
  chmodSync(join(folder, "lastcall.js"), 0o755);
  for (const file of ["LICENSE", CHANGELOG, "lastcall/CONTRACT.md", "docs"]) {
    const to = join(folder, file.replace("lastcall/", ""));
    cpSync(join(root, file), to, { recursive: true });
  }
  cpSync(join(root, "README.md"), join(folder, "README.md"));
  const { hono, ...pins } = engine.pins;
  await buildEngine(join(folder, "engine"));
  write(folder, "package.json", {
    name: "lastcall",
    description: mine.description,
    ...common,
    bin: { lastcall: "lastcall.js" },
    exports: {
      ".": {
        types: "./engine/types/lastcall/mod.d.ts",
        deno: "./engine/deno.js",
        bun: "./engine/bun.js",
        default: "./engine/node.js",
      },
      "./lastcall.js": "./lastcall.js",
    },
    dependencies: pins,
    peerDependencies: { hono: `^${hono}` },
  });
  pack(folder);

  const creator = fresh("create-lastcall");
  writeFileSync(
    join(creator, "create.js"),
    '#!/usr/bin/env node\nprocess.argv.splice(2, 0, "create");\n' +
      'await import("lastcall/lastcall.js");\n',
  );
  chmodSync(join(creator, "create.js"), 0o755);
  cpSync(join(root, "LICENSE"), join(creator, "LICENSE"));
  write(creator, "package.json", {
    name: "create-lastcall",
    description: "Begins a project from lastcall: npm create lastcall",
    ...common,
    bin: { "create-lastcall": "create.js" },
    dependencies: { lastcall: version },
  });
  pack(creator);
  return 0;
}

/**
 * The engine for those who want it without the template: a file for each runtime,
 * and its types.
 *
 * @param {string} folder
 */
async function buildEngine(folder) {
  const { buildSync } = await import("esbuild");
  for (const runtime of ["deno", "bun", "node"]) {
    buildSync({
      absWorkingDir: root,
      entryPoints: ["lastcall/mod.ts"],
      outfile: join(folder, `${runtime}.js`),
      bundle: true,
      format: "esm",
      platform: "node",
      target: "es2023",
      packages: "external",
      conditions: runtime === "node" ? [] : [runtime],
      logLevel: "warning",
    });
  }
  const all = join(dist, "packages", "types");
  rmSync(all, { recursive: true, force: true });
  // Of the names that node_request.ts cannot name, none is in what is taken.
  spawnSync(process.execPath, [
    join(root, "node_modules/typescript/bin/tsc"),
    "--project",
    root,
    "--noEmit",
    "false",
    "--declaration",
    "--emitDeclarationOnly",
    "--outDir",
    all,
  ]);
  /** @type {Set<string>} */
  const taken = new Set(["lastcall/mod.d.ts"]);
  for (const file of taken) {
    const text = readText(join(all, file))
      .replace(ON_RUNTIME, DECLARED)
      .replaceAll(/(?<=")(\.\.?\/[\w./]+)\.ts(?=")/g, "$1.js");
    const to = join(folder, "types", file);
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, text);
    for (const [, path = ""] of text.matchAll(/"(\.\.?\/[\w./]+)\.js"/g)) {
      taken.add(posix.join(posix.dirname(file), `${path}.d.ts`));
    }
  }
}

/** @param {string} name */
function fresh(name) {
  const folder = join(dist, "packages", name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** @param {string} folder @param {string} file @param {object} json */
function write(folder, file, json) {
  writeFileSync(join(folder, file), `${JSON.stringify(json, null, 2)}\n`);
}

/** @param {string} folder */
function pack(folder) {
  const args = ["pack", "--silent", "--pack-destination", dist];
  // npm is a script of the shell's on Windows.
  const shell = process.platform === "win32";
  const name = execFileSync("npm", args, {
    cwd: folder,
    shell,
    encoding: "utf8",
  });
  const { length } = readFileSync(join(dist, name.trim()));
  console.log(`dist/${name.trim()}: ${Math.round(length / 1024)} KB`);
}
