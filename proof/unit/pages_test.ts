/** What the pages name is there: files, links, scripts, and the engine's words. */
import { assert, assertEquals } from "@std/assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { test } from "node:test";

const under = (folder: string, end: RegExp) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}/${file.replaceAll("\\", "/")}`)
    .filter((file) => end.test(file));
const pages = [
  "README.md",
  "AGENTS.md",
  "CONTRIBUTING.md",
  "lastcall/CHANGELOG.md",
  "tools/drill/README.md",
  ...under("docs", /\.md$/),
];
const read = (file: string) => readFileSync(file, "utf8");

test("every link leads to a file", () => {
  let links = 0;
  for (const page of pages) {
    for (const [, link = ""] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?:|#)/.test(link)) continue;
      links++;
      const target = posix.join(posix.dirname(page), link.replace(/#.*/, ""));
      assert(existsSync(target), `${page}: ${link}`);
    }
  }
  assert(links > 30, `${links} links`);
});

test("every file that is named by its path is there", () => {
  const rooms =
    /^(src|tests|lastcall|runtimes|tools|proof|docs|scripts|deploy)\//;
  let named = 0;
  for (const page of pages) {
    // Where a page shows what one's own project may have, there is no such file.
    const text = read(page).replace(/```[^]*?```/g, "");
    for (const [, path = ""] of text.matchAll(/`([\w@./-]+\/[\w@.-]*)`/g)) {
      // A project has the command in one file.
      if (!rooms.test(path) || path === "tools/lastcall.js") continue;
      named++;
      assert(existsSync(path), `${page}: ${path}`);
    }
  }
  assert(named > 60, `${named} files`);
});

test("every script that is named is one", () => {
  const { scripts } = JSON.parse(read("package.json"));
  const npmsOwn = ["install", "ci", "test", "start", "audit"];
  const inProjects = ["upgrade"];
  for (const page of pages) {
    const said = read(page)
      .matchAll(/\b(?:npm run|bun run|deno task) ([a-z][a-z-]*)\b/g);
    for (const [line, name = ""] of said) {
      const isOne = name in scripts ||
        [...npmsOwn, ...inProjects].includes(name);
      assert(isOne, `${page}: ${line}`);
    }
  }
});

test("the walk through the engine has the engine's own words", () => {
  const sources = ["lastcall", "runtimes", "src"]
    .flatMap((folder) => under(folder, /\.ts$/)).map(read).join("\n");
  const words = [
    ...read("docs/engine.md").matchAll(/`([\w.#]+)(?:\([^)]*\))?`/g),
  ]
    .map(([, word = ""]) => word)
    .filter((word) => !word.includes("/") && !/\.(ts|json|md)$/.test(word));
  assert(words.length > 25, words.join());
  const unknown = words.flatMap((word) => word.split("."))
    .filter((word) => !new RegExp(`(^|\\W)${word}\\b`).test(sources));
  assertEquals(unknown, []);
});
