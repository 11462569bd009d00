import { assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { test } from "node:test";

// The bundle for Node lies elsewhere; every runner starts in the repository.
const rooms = ["src", "tests", "lastcall", "runtimes", "tools", "proof"];
const sources = rooms.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((file) => `${folder}/${file}`.replaceAll("\\", "/"))
    .filter((file) => /\.(ts|js)$/.test(file) && !/node_modules/.test(file))
);

const isEngineTest = (file: string) =>
  /^lastcall\/(tests|testing)\//.test(file);
const isEngine = (file: string) =>
  file.startsWith("lastcall/") && !isEngineTest(file);
const isRuntime = (file: string) => file.startsWith("runtimes/");
const isApp = (file: string) => file.startsWith("src/");

/** What a file imports, and where a relative path leads. */
function importsOf(file: string): string[] {
  const text = readFileSync(file, "utf8");
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)"/gms)]
    .concat([...text.matchAll(/^import "([^"]+)"/gm)])
    .map(([, specifier]) =>
      specifier!.startsWith(".")
        ? new URL(specifier!, `file:///${file}`).pathname.slice(1)
        : specifier!
    );
}

function breaches(
  from: (file: string) => boolean,
  mayImport: (target: string) => boolean,
): string[] {
  return sources.filter(from).flatMap((file) =>
    importsOf(file).filter((target) => !mayImport(target))
      .map((target) => `${file} -> ${target}`)
  );
}

const isPackage = (target: string) =>
  !target.startsWith("#") && !rooms.includes(target.split("/")[0]!);

test("the sources are found, and their imports are read", () => {
  assertEquals(sources.includes("src/main.ts"), true);
  assertEquals(importsOf("src/main.ts").includes("#runtime"), true);
  assertEquals(importsOf("src/main.ts").includes("#lastcall"), true);
  assertEquals(importsOf("src/main.ts").includes("src/config.ts"), true);
});

test("the engine imports itself, packages, the runtimes' types and the page of times", () => {
  assertEquals(
    breaches(
      isEngine,
      (target) =>
        isEngine(target) || isPackage(target) ||
        ["runtimes/runtime.ts", "runtimes/times.ts"].includes(target),
    ),
    // The one door is where the runtime at hand comes in.
    ["lastcall/mod.ts -> #runtime", "lastcall/mod.ts -> #runtime"],
  );
});

test("a runtime imports packages and what runtimes share, and no policy", () => {
  assertEquals(
    breaches(
      isRuntime,
      (target) =>
        isPackage(target) ||
        isRuntime(target) && !/\/(deno|bun|node)\.ts$/.test(target),
    ),
    [],
  );
});

test("the engine is entered by its name alone: #lastcall", () => {
  assertEquals(
    breaches(
      (file) => !isEngine(file) && !isEngineTest(file) && !isRuntime(file),
      (target) => !target.startsWith("lastcall/") && !isRuntime(target),
    ),
    [],
  );
});

test("nothing but its own tests and the proof points to the app", () => {
  assertEquals(
    breaches(
      (file) => !isApp(file) && !/^(tests|proof)\//.test(file),
      (target) => !isApp(target),
    ),
    [],
  );
  assertEquals(
    breaches(
      isEngineTest,
      (target) => !/^(src|tests|tools|proof)\//.test(target),
    ),
    [],
    "the engine's own tests know no app",
  );
});

test("the app mentions no runtime, and uses what all three have", () => {
  const named = sources.filter(isApp).flatMap((file) =>
    readFileSync(file, "utf8").split("\n")
      .filter((line) => !/^\s*(\/\/|\*|\/\*)/.test(line))
      .filter((line) => /\b(Deno|Bun)\.\w/.test(line))
      .map((line) => `${file}: ${line.trim()}`)
  );
  assertEquals(named, []);
  // This test runs on each of them. Node 20 has no node:sqlite: the store loads
  // it when it is there.
  assertEquals(
    breaches(
      isApp,
      (target) =>
        !target.startsWith("node:") || isBuiltin(target) ||
        target === "node:sqlite",
    ),
    [],
  );
});
