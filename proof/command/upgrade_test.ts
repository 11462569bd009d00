/** `lastcall upgrade`, from a version before this one, made of this one. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { after, afterEach, test } from "node:test";
import { templateIn, withTemplate } from "../../tools/command/template.js";
import { killAll } from "../support/server_process.ts";
import {
  command,
  folder,
  git,
  lastcall,
  noCommand,
  read,
  removeFolders,
  write,
} from "./command.ts";

const skip = noCommand;
const HEALTH = "lastcall/health.ts", KIT = "src/kit/pause.ts";
const MARK = "//# template=";

afterEach(killAll);
after(removeFolders);

let older: { file: string; folder: string } | undefined;

/** The command of 0.0.9: another engine, another kit, a file that is gone now. */
function before(): { file: string; folder: string } {
  if (older) return older;
  const text = fs.readFileSync(command(), "utf8");
  const template = templateIn(text);
  const change = (file: string, to: (text: string) => string) =>
    template.set(file, to(template.get(file) ?? ""));
  change(
    "lastcall/engine.json",
    (text) => text.replace(/"version": ".*"/, '"version": "0.0.9"'),
  );
  change(HEALTH, (text) => `// The first line of 0.0.9.\n${text}`);
  change("lastcall/gone.ts", () => "export {};\n");
  change(KIT, (text) => `${text}// The last line of 0.0.9.\n`);
  const made = folder();
  const file = path.join(made, "lastcall.js");
  const code = text.slice(0, text.lastIndexOf(`\n${MARK}`));
  fs.writeFileSync(file, withTemplate(code, template));
  fs.writeFileSync(path.join(made, "package.json"), '{"type":"module"}\n');
  return older = { file, folder: made };
}

/** Of a runtime that is not at hand: then check and test are left to a person. */
async function project(runtimes = "node"): Promise<string> {
  const at = folder();
  const { code, text } = await lastcall(
    [
      "create",
      "p",
      "--yes",
      "--no-example",
      "--deploy=systemd",
      `--runtimes=${runtimes}`,
    ],
    at,
    {},
    before().file,
  );
  assertEquals(code, 0, text);
  return path.join(at, "p");
}

const newer = () => ["upgrade", `--from=${path.dirname(command())}`];
/** By its own command, as `npm run upgrade` has it. */
const upgrade = (at: string, args: string[]) =>
  lastcall(args, at, {}, path.join(at, "tools/lastcall.js"));
const versionOf = (at: string) =>
  JSON.parse(read(at, "lastcall/engine.json")).version;
const current = () => templateIn(fs.readFileSync(command(), "utf8"));

test("an untouched project has the new engine, and a patch of the rest", {
  skip,
}, async () => {
  const at = await project("deno,bun,node");
  assertEquals(versionOf(at), "0.0.9");
  const check = await upgrade(at, [...newer(), "--check"]);
  assertEquals(check.code, 1, check.text);
  const { code, text } = await upgrade(at, newer());
  assertEquals(code, 0, text);
  assertMatch(text, /The engine: 0\.0\.9 -> /);
  assertMatch(text, /## 0\.1\.0/);
  assertMatch(text, /git restore \./);
  assertEquals(read(at, HEALTH), current().get(HEALTH));
  assert(!fs.existsSync(path.join(at, "lastcall/gone.ts")));
  assertEquals(
    read(at, "tools/lastcall.js"),
    fs.readFileSync(command(), "utf8"),
  );
  assertMatch(read(at, "lastcall/stamp.json"), /"name": "p"/);
  // The kit is its own: told, not touched.
  assertMatch(read(at, KIT), /The last line of 0\.0\.9/);
  assertMatch(text, new RegExp(KIT));
  git(at, "add", "--all");
  git(at, "apply", "--3way", "lastcall-upgrade.patch");
  assertEquals(read(at, KIT), current().get(KIT));

  git(at, "add", "--all");
  git(at, "commit", "--quiet", "-m", "upgraded");
  const again = await upgrade(at, newer());
  assertEquals(again.code, 0, again.text);
  assertMatch(again.text, /has it all already/);
  assertEquals(git(at, "status", "--porcelain"), "");
  assertEquals((await upgrade(at, [...newer(), "--check"])).code, 0);
  const back = await upgrade(at, ["upgrade", `--from=${before().folder}`]);
  assertEquals(back.code, 1);
  assertMatch(back.text, /no way back/);
});

test(
  "an engine file that was edited is shown, and merged where that is asked",
  { skip },
  async () => {
    const at = await project();
    write(at, HEALTH, `${read(at, HEALTH)}// Mine.\n`);
    write(
      at,
      "lastcall/clock.ts",
      `${read(at, "lastcall/clock.ts")}// Mine too.\n`,
    );
    git(at, "commit", "--quiet", "-am", "edited");
    const refused = await upgrade(at, newer());
    assertEquals(refused.code, 1);
    assertMatch(refused.text, /\+\/\/ Mine\.\n/);
    assertMatch(refused.text, /lastcall\/health\.ts\. Nothing was written/);
    assertEquals(git(at, "status", "--porcelain"), "");

    const merged = await upgrade(at, [...newer(), "--merge"]);
    assertEquals(merged.code, 0, merged.text);
    assertEquals(read(at, HEALTH), `${current().get(HEALTH)}// Mine.\n`);
    assertMatch(read(at, "lastcall/clock.ts"), /\/\/ Mine too\.\n$/);

    git(at, "reset", "--quiet", "--hard");
    git(at, "clean", "-fdq");
    write(at, HEALTH, read(at, HEALTH).replace("first line of", "1st line of"));
    git(at, "commit", "--quiet", "-am", "edited where both do");
    const both = await upgrade(at, [...newer(), "--merge"]);
    assertEquals(both.code, 1, both.text);
    assertMatch(both.text, /<<<<<<< in lastcall\/health\.ts/);
    assertMatch(read(at, HEALTH), /^<<<<<<< yours\n/);
  },
);

test("a dirty tree, as one interrupted in the middle leaves it, is refused", {
  skip,
}, async () => {
  const at = await project();
  write(at, HEALTH, current().get(HEALTH)!);
  const { code, text } = await upgrade(at, newer());
  assertEquals(code, 1);
  assertMatch(text, /not committed; .*interrupted: git restore \. &&/s);
  git(at, "restore", ".");
  assertEquals((await upgrade(at, newer())).code, 0);
  assertEquals(read(at, HEALTH), current().get(HEALTH));
});

test("what the engine pins moves with it", { skip }, async () => {
  const at = await project();
  const text = read(at, "package.json");
  const { pins } = JSON.parse(read(at, "lastcall/engine.json"));
  write(
    at,
    "package.json",
    text.replace(`"ws": "${pins.ws}"`, '"ws": "8.0.0"'),
  );
  git(at, "commit", "--quiet", "-am", "an older one");
  const upgraded = await upgrade(at, newer());
  assertEquals(upgraded.code, 0, upgraded.text);
  assertMatch(upgraded.text, /the versions that the engine pins/);
  assertEquals(read(at, "package.json"), text);
});

test("from npm, and without a stamp", { skip }, async () => {
  const at = await project();
  fs.rmSync(path.join(at, "lastcall/stamp.json"));
  fs.rmSync(path.join(at, "tools"), { recursive: true });
  git(at, "commit", "--quiet", "-am", "as a clone is");
  const packages = folder();
  const tarball = (version: string, file: string) => {
    fs.mkdirSync(path.join(packages, version, "package"), { recursive: true });
    fs.cpSync(file, path.join(packages, version, "package/lastcall.js"));
    execFileSync("tar", ["czf", `${version}.tgz`, "-C", version, "package"], {
      cwd: packages,
    });
  };
  const now = JSON.parse(current().get("lastcall/engine.json")!).version;
  tarball("0.0.9", before().file);
  tarball(now, command());
  const registry = createServer(({ url = "" }, response) => {
    const [, version = ""] = /^\/lastcall\/([\w.]+)$/.exec(url) ?? [];
    const known = version === "latest" ? now : version;
    if (/tgz$/.test(url)) {
      return void response.end(
        fs.readFileSync(path.join(packages, path.basename(url))),
      );
    }
    if (!fs.existsSync(path.join(packages, `${known}.tgz`))) {
      return void response.writeHead(404).end();
    }
    const dist = { tarball: `${base}/files/${known}.tgz` };
    response.end(JSON.stringify({ version: known, dist }));
  });
  await new Promise<void>((resolve) =>
    registry.listen(0, "127.0.0.1", resolve)
  );
  const base = `http://127.0.0.1:${(registry.address() as AddressInfo).port}`;
  const env = { npm_config_registry: base };
  try {
    const unknown = await lastcall(["upgrade", "--to=9.9.9"], at, env);
    assertEquals(unknown.code, 1);
    assertMatch(unknown.text, /has no lastcall@9\.9\.9: 404\./);
    const check = await lastcall(["upgrade", "--check"], at, env);
    assertMatch(
      check.text,
      new RegExp(`There is ${now}; this project has 0.0.9`),
    );
    const { code, text } = await lastcall(["upgrade"], at, env);
    assertEquals(code, 0, text);
    assertEquals(read(at, HEALTH), current().get(HEALTH));
  } finally {
    registry.close();
  }
  git(at, "add", "--all");
  git(at, "commit", "--quiet", "-m", "upgraded");
  const nobody = await lastcall(["upgrade"], at, env);
  assertEquals(nobody.code, 1);
  assertMatch(nobody.text, /cannot be reached; --from takes/);
});
