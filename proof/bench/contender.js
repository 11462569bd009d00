// Who takes part, made ready to run: each is one bundle, so that none pays for
// how its sources are found.

import { build, forNode } from "../../scripts/bundle.js";
import { mkdtempSync, rmSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findRuntime } from "../../scripts/runtimes.js";
import { Child } from "./child.js";

/** @typedef {"deno" | "bun" | "node"} RuntimeName */

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {string[]} command
 */

/**
 * @typedef {object} Field one runtime and who runs on it
 * @property {RuntimeName} runtime
 * @property {string} label
 * @property {Contender} bare
 * @property {Contender} lastcall
 * @property {Contender} srvx
 */

export const RUNTIMES = /** @type {RuntimeName[]} */ (["deno", "bun", "node"]);

const root = join(import.meta.dirname, "../..");

/** @param {RuntimeName} runtime @returns {Promise<Field>} */
export async function field(runtime) {
  const scratch = mkdtempSync(join(tmpdir(), "lastcall-bench-"));
  process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
  const { path, label } = findRuntime(runtime === "node" ? "node24" : runtime);
  /** @param {string} name @param {string} source */
  const contender = async (name, source) => ({
    name,
    command: run(runtime, path, await bundle(runtime, source, scratch)),
  });
  return {
    runtime,
    label,
    bare: await contender("bare", `bare_${runtime}.js`),
    lastcall: await contender("lastcall", "lastcall.js"),
    srvx: await contender("srvx", "peers/srvx.js"),
  };
}

/** @param {RuntimeName} runtime @param {string} path @param {string} file */
function run(runtime, path, file) {
  // What the template's own tasks give, and a way to collect garbage.
  if (runtime === "deno") {
    const config = `--config=${join(root, "deno.json")}`;
    const gc = "--v8-flags=--expose-gc";
    const rights = ["--no-prompt", "--allow-net", "--allow-env"];
    return [path, "run", config, "--no-lock", gc, ...rights, file];
  }
  if (runtime === "node") return [path, "--expose-gc", file];
  return [path, file];
}

/**
 * @param {RuntimeName} runtime
 * @param {string} source
 * @param {string} scratch
 */
function bundle(runtime, source, scratch) {
  const outfile = join(scratch, source.replaceAll("/", "_") + ".mjs");
  const isBuilt = build({
    ...forNode,
    entryPoints: [join(import.meta.dirname, source)],
    outfile,
    ...runtime === "node" ? {} : {
      platform: "neutral",
      conditions: [runtime],
      external: ["node:*"],
      banner: {},
    },
  });
  if (!isBuilt) throw new Error(`${source} could not be built`);
  return outfile;
}

/** A contender's process, which listens. */
export class Server extends Child {
  url = "";
  port = 0;

  /** @param {Contender} contender */
  static async start({ command }) {
    const server = new Server("server", command);
    const { port } = await server.event("listening");
    server.port = Number(port);
    server.url = `http://127.0.0.1:${port}`;
    return server;
  }

  /** @param {string} path @returns {Promise<void>} */
  answers(path) {
    return new Promise((resolve, reject) => {
      get(`${this.url}${path}`, { agent: false }, (response) => {
        response.resume().on("end", () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`${path} answered ${response.statusCode}.`));
        });
      }).on("error", reject);
    });
  }

  /** Cut off, whatever it does. */
  async kill() {
    this.signal("SIGKILL");
    await this.exited;
  }
}
