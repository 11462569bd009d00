import { assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

// The bundle for Node lies elsewhere; every runner starts in the repository.
const sources = ["src", "lastcall", "runtimes"].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.startsWith("tests/"))
    .map((file) => `${folder}/${file}`.replaceAll("\\", "/"))
);

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
  !/^(src|lastcall|runtimes)\/|^[#]/.test(target);

test("the sources are found, and their imports are read", () => {
  assertEquals(sources.includes("src/main.ts"), true);
  assertEquals(importsOf("src/main.ts").includes("#runtime"), true);
  assertEquals(importsOf("src/main.ts").includes("src/config.ts"), true);
});

test("the engine imports itself, packages and the runtimes' types", () => {
  assertEquals(
    breaches(
      (file) => file.startsWith("lastcall/"),
      (target) =>
        target.startsWith("lastcall/") || isPackage(target) ||
        target === "runtimes/runtime.ts",
    ),
    // The one door is where the runtime at hand comes in.
    ["lastcall/mod.ts -> #runtime", "lastcall/mod.ts -> #runtime"],
  );
});

test("a runtime imports packages and what runtimes share, and no policy", () => {
  assertEquals(
    breaches(
      (file) => file.startsWith("runtimes/"),
      (target) =>
        isPackage(target) ||
        target.startsWith("runtimes/") &&
          !/\/(deno|bun|node)\.ts$/.test(target),
    ),
    [],
  );
});

test("the app enters the engine by its one door", () => {
  assertEquals(
    breaches(
      (file) => file.startsWith("src/"),
      (target) =>
        !target.startsWith("lastcall/") || target === "lastcall/mod.ts",
    ),
    [],
  );
});

test("nothing in src mentions a runtime", () => {
  // What serves on all three.
  const shared = /"node:(sqlite|buffer|async_hooks|fs\/promises)"/;
  const mentions = sources.filter((file) => /^(src|lastcall)\//.test(file))
    .flatMap((file) =>
      readFileSync(file, "utf8").split("\n")
        .filter((line) => !/^\s*(\/\/|\*|\/\*)/.test(line))
        .filter((line) =>
          /\b(Deno|Bun)\.\w|\bprocess\.(?!ts")|"node:/.test(line) &&
          !shared.test(line)
        )
        .map((line) => `${file}: ${line.trim()}`)
    );
  assertEquals(mentions, []);
});
