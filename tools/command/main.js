// The command `lastcall`: begins a project, keeps its engine current, tries its
// restarts, reads its deploy files.

import process from "node:process";
import { create, HELP as CREATE, init, INIT_HELP } from "./create.js";
import { eject, HELP as EJECT } from "./eject.js";
import { Problem } from "./problem.js";
import { engineVersion } from "./stamp.js";
import { ownTemplate } from "./template.js";
import { HELP as UPGRADE, upgrade } from "./upgrade.js";

const HELP = `lastcall: a Hono server that loses nothing on its way out

  lastcall create FOLDER   a new project
  lastcall init            the clone in this folder becomes a project
  lastcall upgrade         a newer engine in this project
  lastcall eject           the example out of this project
  lastcall doctor          what in its deploy files will lose requests
  lastcall drill           restarts a server under load: what becomes of requests

Each answers --help. --version says which engine is inside.
`;

/** @type {Record<string, { help: string, run: (args: string[]) => Promise<number> }>} */
const VERBS = {
  create: { help: CREATE, run: create },
  init: { help: INIT_HELP, run: (args) => init(".", args) },
  upgrade: { help: UPGRADE, run: (args) => upgrade(".", args) },
  eject: { help: EJECT, run: (args) => eject(".", args) },
};

/** @param {string[]} args */
export async function main([verb = "--help", ...args]) {
  if (/^(--help|-h|help)$/.test(verb)) {
    console.log(HELP);
    return 0;
  }
  if (/^(--version|-v)$/.test(verb)) {
    console.log(engineVersion(ownTemplate()));
    return 0;
  }
  // What they know is needed by nobody else.
  if (verb === "drill") {
    return await (await import("../drill/main.js")).main(args);
  }
  if (verb === "doctor") return (await import("../doctor/main.ts")).main(args);
  const { help, run } = Object.hasOwn(VERBS, verb) ? VERBS[verb] ?? {} : {};
  if (!run) {
    console.error(`There is no lastcall ${verb}.\n\n${HELP}`);
    return 2;
  }
  if (args.some((arg) => /^(--help|-h)$/.test(arg))) {
    console.log(help);
    return 0;
  }
  try {
    return await run(args);
  } catch (error) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
    const isTheirs = error instanceof Problem ||
      code?.startsWith("ERR_PARSE_ARGS");
    if (!isTheirs) throw error;
    console.error(message);
    return error instanceof Problem ? 1 : 2;
  }
}

process.exit(await main(process.argv.slice(2)));
