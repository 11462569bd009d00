// The template, made a project of one's own.

import { withoutExample } from "./example.js";
import { edited, withoutPackages } from "./packages.js";
import { agentsOf, readmeOf } from "./readme.js";
import { engineVersion, STAMP, withStamp } from "./stamp.js";

/** @import { Files } from "./files.js" */
/** @import { Choices } from "./stamp.js" */

/** Where a project keeps this command. */
export const COMMAND = "tools/lastcall.js";

/** The scripts of which a project has no use. */
const WORKSHOP = ["proof", "bench", "rolling", "init", "pack"];

/** What each choice brings, by path; what stands in none is everybody's. */
const BELONGS = /** @type {[RegExp, (choices: Choices) => boolean][]} */ ([
  [/^(deno\.lock|deploy\/Containerfile\.deno)$/, has("deno")],
  [
    /^(bun\.lock|bunfig\.toml|tsconfig\.bun\.json|deploy\/Containerfile\.bun)$/,
    has("bun"),
  ],
  [/^(package-lock\.json|deploy\/Containerfile\.node)$/, has("node")],
  [/^(deploy\/Containerfile\..*|\.dockerignore)$/, deploys("containerfile")],
  [/^deploy\/compose\.yaml$/, deploys("compose")],
  [/^deploy\/kubernetes\.yaml$/, deploys("kubernetes")],
  [/^deploy\/(.*\.service|ready\.js)$/, deploys("systemd")],
  [/^deploy\/haproxy\.cfg$/, deploys("haproxy")],
  [/^deploy\/nginx\.conf$/, deploys("nginx")],
  [
    /^deploy\/alive\.js$/,
    (choices) =>
      deploys("containerfile")(choices) || deploys("kubernetes")(choices),
  ],
  [/^\.github\//, deploys("github")],
]);

/** @param {Choices["runtimes"][number]} runtime */
function has(runtime) {
  return (/** @type {Choices} */ { runtimes }) => runtimes.includes(runtime);
}

/** @param {string} way */
function deploys(way) {
  return (/** @type {Choices} */ { deploy }) => deploy.includes(way);
}

/**
 * @param {Files} template
 * @param {Choices} choices
 * @param {string} command the text of this command's one file
 * @returns {Files}
 */
export function projectOf(template, choices, command) {
  const { runtimes, example } = choices;
  const chosen = example ? template : withoutExample(template);
  /** @type {Files} */
  const project = new Map();
  const unused = ["yaml", ...runtimes.includes("bun") ? [] : ["bun-types"]];
  for (const [path, text] of chosen) {
    if (BELONGS.some(([what, when]) => what.test(path) && !when(choices))) {
      continue;
    }
    if (path === "LICENSE") {
      project.set("lastcall/LICENSE", text);
      continue;
    }
    const lean = withoutPackages(path, text, unused) ?? text;
    project.set(renamed(path, choices), adapted(path, lean, choices));
  }
  project.set("README.md", readmeOf(choices));
  project.set("AGENTS.md", agentsOf(choices));
  project.set(COMMAND, command);
  const version = engineVersion(template) ?? "";
  project.set(STAMP, withStamp({ version, ...choices }));
  return new Map([...project].sort(([a], [b]) => a < b ? -1 : 1));
}

/** What may be a host, an image, a unit and a label. @param {Choices} choices */
function slugOf({ name }) {
  return name.replace(/^@.*\//, "").replace(/[._~]+/g, "-").slice(0, 32)
    .replace(/-+$/, "");
}

/** @param {string} path @param {Choices} choices */
function renamed(path, choices) {
  return path === "deploy/lastcall@.service"
    ? `deploy/${slugOf(choices)}@.service`
    : path;
}

/** @param {string} path @param {string} text @param {Choices} choices */
function adapted(path, text, choices) {
  const { name, runtimes } = choices;
  const slug = slugOf(choices);
  if (path.startsWith("deploy/")) {
    return text
      .replaceAll(
        /^.*\bCOPY lastcall .*$/gm,
        (line) => line.replaceAll("lastcall", "\0"),
      )
      .replaceAll("$lastcall_", `$${slug.replaceAll("-", "_")}_`)
      .replaceAll("lastcall", slug)
      .replaceAll("\0", "lastcall")
      .replaceAll("Containerfile.node", `Containerfile.${preferred(choices)}`)
      .replace(/^ *# Or Containerfile\..*\n/m, "");
  }
  switch (path) {
    case "package.json":
      return edited(text, (json) => own(json, choices));
    case "package-lock.json":
      return edited(text, (json) => {
        const { engines } = json.packages[""];
        Object.assign(json, { name, version: "0.1.0" });
        Object.assign(json.packages[""], { name, version: "0.1.0" });
        delete json.packages[""].license;
        keep(engines, runtimes);
      });
    case "bun.lock":
      return text.replace(
        '"name": "lastcall"',
        `"name": ${JSON.stringify(name)}`,
      );
    case "deno.json":
      return edited(text, (json) => ownDeno(json, runtimes));
    case "tsconfig.json":
      return text.replace(/^ *"(tools|proof)",\n/gm, "")
        .replace(/, "tools\/drill\/page"/, "");
    case "tsconfig.bun.json":
      return text.replace(/, "tools\/drill\/page"/, "");
    case "src/app.ts":
      // `deno fmt` would break a longer line.
      return text.replace(
        "Hello from lastcall!",
        name.length <= 33 ? `Hello from ${name}!` : "Hello!",
      );
    case ".github/workflows/ci.yml":
      return jobsOf(text, runtimes);
    case ".github/dependabot.yml":
      return choices.deploy.includes("containerfile")
        ? text
        : text.replace(/ {2}- package-ecosystem: docker\n( {4}.*\n)*/, "");
    default:
      return text;
  }
}

/** Of whose image the deploy files speak. @param {Choices} choices */
function preferred({ runtimes }) {
  return runtimes.includes("node") ? "node" : runtimes[0] ?? "node";
}

/** @param {any} json of package.json @param {Choices} choices */
function own(json, choices) {
  const { name, runtimes, example } = choices;
  Object.assign(json, { name, version: "0.1.0" });
  delete json.description;
  delete json.license;
  keep(json.engines, runtimes);
  // Deno has its tasks in deno.json.
  if (runtimes.every((runtime) => runtime === "deno")) {
    delete json.scripts;
    return;
  }
  const { scripts } = json;
  for (const name of WORKSHOP) delete scripts[name];
  for (const verb of verbs(example)) {
    scripts[verb] = `node ${COMMAND} ${verb}`;
  }
}

/** What the command does in a project. @param {boolean} example */
const verbs = (example) => [
  "drill",
  "doctor",
  "upgrade",
  ...example ? ["eject"] : [],
];

/** @param {any} json of deno.json @param {Choices["runtimes"]} runtimes */
function ownDeno(json, runtimes) {
  json.exclude = [...json.exclude, COMMAND];
  if (!runtimes.includes("deno")) {
    // It formats and lints alone.
    delete json.tasks;
    delete json.permissions;
    return;
  }
  for (const name of WORKSHOP) delete json.tasks[name];
  const rights = {
    drill: "--allow-net --allow-run --allow-env --allow-read --allow-write=.",
    doctor: "--allow-env --allow-read",
    upgrade: "--allow-all",
    eject: "--allow-env --allow-read --allow-write=. --allow-run=git",
  };
  for (const [verb, right] of Object.entries(rights)) {
    if (verb === "eject" && !("eject" in json.tasks)) continue;
    json.tasks[verb] = `deno run ${right} ${COMMAND} ${verb}`;
  }
}

/** @param {Record<string, string>} engines @param {Choices["runtimes"]} runtimes */
function keep(engines, runtimes) {
  for (const engine of Object.keys(engines)) {
    if (!runtimes.some((runtime) => runtime === engine)) delete engines[engine];
  }
}

/** A job is named as its runtime. @param {string} text @param {string[]} runtimes */
function jobsOf(text, runtimes) {
  const [head = "", jobs = ""] = text.split(/(?<=^jobs:\n)/m);
  const kept = jobs.split(/\n\n(?= {2}\S)/).filter((job) =>
    runtimes.includes(/^ {2}(\w+):/m.exec(job)?.[1] ?? "")
  );
  return `${head}${kept.map((job) => job.trimEnd()).join("\n\n")}\n`
    .replace("types and tests on the three runtimes", "types and tests");
}
