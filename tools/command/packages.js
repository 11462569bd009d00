// package.json and the three lock files, without packages that nothing else needs.

/**
 * The file's text, if it is one of those four. None of these packages brings
 * another along, or a lock file would keep it.
 *
 * @param {string} file @param {string} text @param {string[]} packages
 */
export function withoutPackages(file, text, packages) {
  const isOurs = (/** @type {string} */ specifier) =>
    packages.some((name) =>
      specifier.replace("npm:", "").startsWith(`${name}@`)
    );
  switch (file) {
    case "package.json":
      return edited(text, (json) => drop(json, packages));
    case "package-lock.json":
      return edited(text, (json) => {
        drop(json.packages[""], packages);
        for (const name of packages) {
          delete json.packages[`node_modules/${name}`];
        }
      });
    case "deno.lock":
      return edited(text, (json) => {
        for (const part of [json.specifiers, json.npm]) {
          for (const name of Object.keys(part)) {
            if (isOurs(name)) delete part[name];
          }
        }
        const { packageJson } = json.workspace;
        packageJson.dependencies = packageJson.dependencies
          .filter((/** @type {string} */ name) => !isOurs(name));
      });
    case "bun.lock": // JSON with trailing commas, one entry a line
      return packages.reduce(
        (text, name) =>
          text.replace(
            new RegExp(`^ *"${name}": ("[^"]*"|\\[.*\\]),\n\n?`, "gm"),
            "",
          ),
        text,
      );
  }
}

/** @param {any} json @param {string[]} packages */
function drop(json, packages) {
  for (const name of packages) {
    delete json.dependencies?.[name];
    delete json.devDependencies?.[name];
  }
}

/** The text, with this changed. @param {string} text @param {(json: any) => void} change */
export function edited(text, change) {
  const json = JSON.parse(text);
  const before = JSON.stringify(json);
  change(json);
  if (JSON.stringify(json) === before) return text;
  const written = JSON.stringify(json, null, 2) + "\n";
  // Where short lists stand on one line, they stay there.
  return /\["/.test(text)
    ? written.replace(
      /\[\s+("[\w./-]+"(?:,\s+"[\w./-]+"){0,2})\s+\]/g,
      (_, list) => `[${list.replace(/\s+/g, " ")}]`,
    )
    : written;
}
