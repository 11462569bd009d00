// What a person may choose of a project: by flags, or asked for in a terminal.

import { parseArgs } from "node:util";
import { ask, canAsk } from "./ask.js";
import { Problem } from "./problem.js";

/** @import { Choices } from "./stamp.js" */

export const RUNTIMES = /** @type {const} */ (["deno", "bun", "node"]);
export const DEPLOY = [
  "containerfile",
  "compose",
  "kubernetes",
  "systemd",
  "haproxy",
  "nginx",
  "github",
];

export const HELP = `  --name NAME         as in package.json (the folder's)
  --runtimes LIST     of ${RUNTIMES.join(",")} (all)
  --example           with the example of a feature, bookmarks (yes)
  --no-example        without it
  --deploy LIST       of ${DEPLOY.join(",")}; all or none (all)
  --no-git            no repository and no commit
  --yes               asks nothing: what is not said is as above
`;

const OPTIONS = /** @type {const} */ ({
  name: { type: "string" },
  runtimes: { type: "string" },
  example: { type: "boolean" },
  "no-example": { type: "boolean" },
  deploy: { type: "string" },
  "no-git": { type: "boolean" },
  yes: { type: "boolean" },
});

/**
 * @param {string[]} args
 * @param {(folder: string | undefined) => string} nameOf what it is called where
 *   nobody says
 * @returns {Promise<{ choices: Choices, folder: string | undefined, git: boolean, agreed: boolean }>}
 */
export async function choose(args, nameOf) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: OPTIONS,
  });
  const asks = canAsk() && !values.yes;
  const [folder, ...rest] = positionals;
  if (rest.length > 0) {
    throw new Problem(
      `Expected one folder, and got ${positionals.join(", ")}.`,
    );
  }

  /** @param {string | undefined} said @param {string} question @param {string} usual */
  const answer = async (said, question, usual) =>
    said ?? ((asks && await ask(`${question} (${usual})`)) || usual);

  const problems = [];
  const name = await answer(values.name, "Its name?", nameOf(folder));
  const wrong = wrongName(name);
  if (wrong) problems.push(wrong);
  const runtimes = listOf(
    "--runtimes",
    await answer(values.runtimes, "Which runtimes?", "deno,bun,node"),
    [...RUNTIMES],
    problems,
  );
  if (runtimes.length === 0) {
    problems.push(
      `--runtimes names none; expected one of ${RUNTIMES.join(", ")}.`,
    );
  }
  if (values.example && values["no-example"]) {
    problems.push("--example and --no-example are opposites; choose one.");
  }
  const said = values["no-example"] ? "no" : values.example ? "yes" : undefined;
  const example = await answer(said, "With the example of a feature?", "yes");
  const deploy = listOf(
    "--deploy",
    await answer(
      values.deploy,
      `What is it deployed with: ${DEPLOY.join(",")}, or none?`,
      "all",
    ),
    DEPLOY,
    problems,
  );
  if (problems.length > 0) throw new Problem(problems.join("\n"));
  return {
    folder,
    git: !values["no-git"],
    agreed: values.yes ?? false,
    choices: {
      name,
      runtimes: RUNTIMES.filter((runtime) => runtimes.includes(runtime)),
      example: /^y/i.test(example),
      deploy: needed(DEPLOY.filter((one) => deploy.includes(one))),
    },
  };
}

/** The flags that choose the same. @param {Choices} choices */
export function flagsOf({ name, runtimes, example, deploy }) {
  return [
    "--yes",
    `--name=${name}`,
    `--runtimes=${runtimes.join(",")}`,
    example ? "--example" : "--no-example",
    `--deploy=${deploy.join(",") || "none"}`,
  ];
}

/** Compose builds an image, and has HAProxy in front. @param {string[]} deploy */
function needed(deploy) {
  return DEPLOY.filter((one) =>
    deploy.includes(one) ||
    deploy.includes("compose") && ["containerfile", "haproxy"].includes(one)
  );
}

/**
 * @param {string} option @param {string} text @param {string[]} known
 * @param {string[]} problems
 */
function listOf(option, text, known, problems) {
  if (text === "all") return known;
  if (text === "none") return [];
  const items = text.split(",").map((item) => item.trim().toLowerCase())
    .filter(Boolean);
  const unknown = items.filter((item) => !known.includes(item));
  if (unknown.length > 0) {
    problems.push(
      `${option} has ${
        unknown.map((item) => JSON.stringify(item)).join(", ")
      }; ` +
        `expected ${known.join(", ")}, separated by commas.`,
    );
  }
  return items;
}

/** Why npm would not take the name, if so. @param {string} name */
function wrongName(name) {
  const isRight = name.length <= 214 &&
    /^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9][a-z0-9._~-]*$/.test(name) &&
    !["node_modules", "favicon.ico", "lastcall"].includes(name);
  return isRight
    ? undefined
    : `${
      JSON.stringify(name)
    } is no name for a project; expected up to 214 small ` +
      'letters, digits, ".", "_" and "-", beginning with a letter or digit, such ' +
      "as --name my-service.";
}
