// `lastcall eject`: takes the example out, in a clone and in a project.

import { parseArgs } from "node:util";
import { agrees } from "./ask.js";
import { isExample, withoutExample } from "./example.js";
import { readProject, whatGitLacks, writeProject } from "./files.js";
import { Problem } from "./problem.js";
import { STAMP, stampOf, withStamp } from "./stamp.js";

export const HELP = `Takes the example out of this project.

  npm run eject      asks first; or bun run eject, deno task eject
  --yes              does not ask
  --force            also where git could not bring everything back
`;

/**
 * What taking the example out of the project in `root` comes to. Nothing is done
 * before `write` is called, which writes each changed file and removes the rest.
 * What git ignores, a .env for one, is left alone: git could not bring it back.
 *
 * @param {string} root
 */
export function ejection(root) {
  const before = readProject(root);
  const after = withoutExample(before);
  const stamp = stampOf(after);
  if (stamp) after.set(STAMP, withStamp({ ...stamp, example: false }));
  const gone = [...before.keys()].filter(isExample);
  const changed = [...after]
    .filter(([file, text]) => before.get(file) !== text);
  return {
    gone,
    changed: changed.map(([file]) => file),
    write() {
      writeProject(root, new Map(changed), gone);
    },
  };
}

/** @param {string} root @param {string[]} args */
export async function eject(root, args) {
  const { values: options } = parseArgs({
    args,
    options: { yes: { type: "boolean" }, force: { type: "boolean" } },
  });
  const unsaved = whatGitLacks(root);
  if (unsaved && !options.force) {
    throw new Problem(
      `${unsaved}; commit or stash first, so that git can bring the example ` +
        "back, or add --force.",
    );
  }
  const { gone, changed, write } = ejection(root);
  if (gone.length + changed.length === 0) {
    throw new Problem("There is no example in this project.");
  }
  console.log("This takes the example out of the project. It removes\n");
  for (const path of gone) console.log(`  ${path}`);
  console.log("\nand every line that belongs to it from\n");
  for (const file of changed) console.log(`  ${file}`);
  console.log("");
  if (!options.yes && !await agrees("Go on?")) {
    console.log("Nothing was changed.");
    return 1;
  }
  write();
  console.log("Done. `git diff` shows it, `npm install` brings it home;");
  console.log("what the example has stored in ./data is still there.");
  return 0;
}
