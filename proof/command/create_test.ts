/** Projects that `lastcall create` and `lastcall init` make. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { after, afterEach, test } from "node:test";
import { Terminal } from "../support/pty.ts";
import {
  executable,
  killAll,
  Process,
  root,
  runtime,
} from "../support/server_process.ts";
import {
  command,
  filesOf,
  folder,
  git,
  lastcall,
  noCommand,
  read,
  removeFolders,
  scripts,
  shell,
  spawned,
  write,
} from "./command.ts";

const skip = noCommand;
const LONG = { skip, timeout: 115_000 };

afterEach(killAll);
after(removeFolders);

async function ok(line: string, cwd: string): Promise<void> {
  const { code, text } = await shell(line, cwd);
  assertEquals(code, 0, `${line}\n${text}`);
}

const NOTES = `import { Hono } from "hono";
import { type ShutdownController, upgradeWebSocket } from "#lastcall";
import type { Config } from "./config.ts";

interface Parts {
  config: Pick<Config, "NOTE">;
  shutdown: ShutdownController;
}

export function notes({ config, shutdown }: Parts) {
  const all = [config.NOTE];
  shutdown.job("forget", async (signal) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    all.length = 0;
  });
  return new Hono()
    .get("/", (c) => c.json(all))
    .get(
      "/live",
      upgradeWebSocket(() => ({
        onMessage: (event, socket) => socket.send(String(event.data)),
      })),
    );
}
`;
const NOTES_TEST = `import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { notes } from "../../src/notes.ts";
import { setup } from "../app_setup.ts";

test("a note says what the variable says", async () => {
  const { config, shutdown } = setup({ NOTE: "mine" });
  const response = await notes({ config, shutdown }).request("/");
  assertEquals(await response.json(), ["mine"]);
});
`;

/** It starts, answers, and is clean at a SIGTERM. */
async function serves(
  project: string,
  says: string,
  meanwhile?: (url: string) => Promise<void>,
): Promise<void> {
  const server = new Process(["sh", "-c", `exec ${scripts.run} start`], {
    cwd: project,
    env: { PORT: 0, HOST: "127.0.0.1", LOG_FORMAT: "json" },
  });
  const { json } = await server.line(
    "its URL",
    ({ json }) => json?.message === "server listening",
  );
  assertEquals(await (await fetch(String(json?.url))).text(), says);
  await meanwhile?.(String(json?.url));
  server.signal("SIGTERM");
  const { code } = await server.exited;
  assertEquals(code, 0, server.describe());
  const report = server.lines.findLast(({ json }) =>
    json?.message === "shutdown finished"
  );
  assertEquals(report?.json?.outcome, "clean");
}

test(
  "a project of this runtime alone, without the example, passes its own tests",
  LONG,
  async () => {
    const at = folder();
    const { code, text } = await lastcall(
      [
        "create",
        "my-service",
        "--yes",
        `--runtimes=${runtime}`,
        "--no-example",
        "--deploy=none",
      ],
      at,
    );
    assertEquals(code, 0, text);
    assertMatch(text, /my-service is there/);
    const project = path.join(at, "my-service");
    const files = filesOf(project);
    const locks = {
      deno: "deno.lock",
      bun: "bun.lock",
      node: "package-lock.json",
    };
    for (const [name, lock] of Object.entries(locks)) {
      assertEquals(files.includes(lock), name === runtime, lock);
    }
    const own = files.filter((file) =>
      !/^(lastcall|runtimes|tools)\//.test(file)
    );
    assert(own.length <= 60, `${own.length} files`);
    assertEquals(
      files.filter((file) => /bookmarks|deploy|proof|docs/.test(file)),
      [],
    );
    assert(read(project, "README.md").split("\n").length <= 120);
    assertEquals(git(project, "status", "--porcelain"), "");

    if (scripts.install) await ok(scripts.install, project);
    await ok(`${scripts.run} check`, project);
    await ok(`${scripts.run} test`, project);
    await serves(project, "Hello from my-service!\n");
    assertEquals(git(project, "status", "--porcelain"), "");
  },
);

test(
  "check and test tell the truth of what a person adds by the README",
  LONG,
  async () => {
    const at = folder();
    const made = await lastcall(
      [
        "create",
        "mine",
        "--yes",
        `--runtimes=${runtime}`,
        "--no-example",
        "--deploy=none",
      ],
      at,
    );
    assertEquals(made.code, 0, made.text);
    const project = path.join(at, "mine");
    if (scripts.install) await ok(scripts.install, project);

    // By the README alone, with the names of one's own.
    const edit = (file: string, from: string | RegExp, to: string) => {
      const text = read(project, file);
      const changed = text.replace(from, to);
      assert(changed !== text, `${file} has ${from}`);
      write(project, file, changed);
    };
    const check = () => shell(`${scripts.run} check`, project);
    edit(
      "src/config.ts",
      / {4}REUSE_PORT: .*\n/,
      '$&    NOTE: v.optional(text("a word", (word) => word !== ""), "hello"),\n',
    );
    edit("src/config.ts", "port, secret,", "port, secret, text,");
    const forgotten = await check();
    assertEquals(forgotten.code, 1);
    assertMatch(forgotten.text, /NOTE is in the schema.*not in \.env\.example/);
    edit(
      ".env.example",
      /# REUSE_PORT=.*/,
      "$&\n\n# What a note says.\n# NOTE=hello",
    );
    if (runtime === "deno") {
      assertMatch((await check()).text, /NOTE is in the schema.*deno\.json/);
      edit("deno.json", '"REUSE_PORT"', '"REUSE_PORT",\n          "NOTE"');
    }
    write(project, "src/notes.ts", NOTES);
    write(project, "tests/notes/notes_test.ts", NOTES_TEST);
    edit(
      "src/main.ts",
      "    const app = createApp(parts);\n",
      '$&    app.route("/notes", notes(parts));\n',
    );
    edit(
      "src/main.ts",
      "import { listConfig",
      'import { notes } from "./notes.ts";\n$&',
    );
    // Another greeting, and no demonstration.
    edit("src/app.ts", /"Hello from .*"/, '"Mine.\\n"');
    fs.rmSync(path.join(project, "src/demo.ts"));
    edit("src/app.ts", /import \{ demo \}.*\n/, "");
    edit("src/app.ts", /\n.*demo\(\{.*\n/, "");
    const mended = await check();
    assertEquals(mended.code, 0, mended.text);
    await ok(`${scripts.run} test`, project);
    await serves(project, "Mine.\n", async (url) => {
      assertEquals(await (await fetch(`${url}/notes`)).json(), ["hello"]);
    });
  },
);

test("a project of everything has its own name everywhere", LONG, async () => {
  const at = folder();
  const { code, text } = await lastcall(
    ["create", "orders", "--yes", "--name=@acme/orders.api"],
    at,
  );
  assertEquals(code, 0, text);
  const project = path.join(at, "orders");
  const named = ["package.json", "package-lock.json", "bun.lock", "README.md"];
  for (const file of named) {
    assertMatch(read(project, file), /@acme\/orders\.api/);
  }
  assertMatch(read(project, "src/app.ts"), /Hello from @acme\/orders\.api!/);
  assertMatch(read(project, "deploy/orders-api@.service"), /\/opt\/orders-api/);
  assertMatch(read(project, "deploy/nginx.conf"), /\$orders_api_asks/);
  // But for the engine's name, its folder, and the link to its manual.
  const told = git(project, "grep", "-n", "lastcall").trim().split("\n")
    .filter((line) => !/^(lastcall|runtimes|tools)\//.test(line))
    .filter((line) =>
      line.replaceAll(
        /#lastcall|\btools\/lastcall\.js|lastcall\/|COPY lastcall|\.\/lastcall\b|!lastcall|"lastcall[/"]|package\/lastcall|lastcall-/g,
        "",
      ).replace(/^[^:]*:\d+:/, "").includes("lastcall")
    );
  assertEquals(told, []);

  const doctor = await lastcall(["doctor"], project);
  assertMatch(doctor.text, /0 errors, 0 warnings/);
  if (scripts.install) await ok(scripts.install, project);

  await ok(`${scripts.run} doctor`, project);
  if (runtime === "node") await ok("npm run build", project);
  await serves(project, "Hello from @acme/orders.api!\n");

  // The example can still go.
  git(project, "commit", "--quiet", "--allow-empty", "-m", "before");
  const ejected = await lastcall(["eject", "--yes"], project);
  assertEquals(ejected.code, 0, ejected.text);
  assertEquals(fs.existsSync(path.join(project, "src/bookmarks")), false);
  assertMatch(read(project, "lastcall/stamp.json"), /"example": false/);
  if (scripts.install) await ok(scripts.install, project);
  await ok(`${scripts.run} test -- config`, project);
});

test("the longest name is formatted as any other", { skip }, async (t) => {
  if (runtime !== "deno") return t.skip("deno fmt is Deno's");
  const at = folder();
  const name = `@acme/${"long-".repeat(41)}x`;
  const made = await lastcall(["create", "x", "--yes", `--name=${name}`], at);
  assertEquals(made.code, 0, made.text);
  await ok("deno fmt --check && deno lint", path.join(at, "x"));
});

test("in a terminal it asks for what was not said", { skip }, async () => {
  const at = folder();
  const rights = runtime === "deno" ? ["run", "--allow-all"] : [];
  const words = [executable, ...rights, command(), "create", "--deploy=none"];
  const person = new Terminal(words.join(" "), { cwd: at });
  const answers: [question: RegExp, answer: string][] = [
    [/Which folder\?/, "things"],
    [/Its name\? \(things\)/, "my-things"],
    [/Which runtimes\? \(deno,bun,node\)/, "node"],
    [/With the example of a feature\? \(yes\)/, "no"],
  ];
  for (const [question, answer] of answers) {
    await person.line(String(question), ({ text }) => question.test(text));
    person.type(`${answer}\r`);
  }
  assertEquals((await person.exited).code, 0, person.describe());
  const stamp = read(path.join(at, "things"), "lastcall/stamp.json");
  assertEquals(JSON.parse(stamp), {
    version: JSON.parse(read(root, "lastcall/engine.json")).version,
    name: "my-things",
    runtimes: ["node"],
    example: false,
    deploy: [],
  });
});

test("a clone becomes a project in place, in one commit", LONG, async () => {
  const clone = folder();
  execFileSync("git", ["clone", "--quiet", root, clone]);
  fs.writeFileSync(path.join(clone, "mine"), "");
  const dirty = await lastcall(["init", "--yes"], clone);
  assertEquals(dirty.code, 1);
  assertMatch(dirty.text, /not committed; commit or stash/);
  fs.rmSync(path.join(clone, "mine"));
  const before = Number(git(clone, "rev-list", "--count", "HEAD"));
  const made = await lastcall(
    ["init", "--yes", "--name=my-clone", "--no-example", "--deploy=systemd"],
    clone,
  );
  assertEquals(made.code, 0, made.text);
  assertEquals(Number(git(clone, "rev-list", "--count", "HEAD")), before + 1);
  assertEquals(git(clone, "status", "--porcelain"), "");
  assertEquals(JSON.parse(read(clone, "package.json")).name, "my-clone");
  assertEquals(fs.existsSync(path.join(clone, "proof")), false);
  assertEquals(
    filesOf(clone).filter((file) => file.startsWith("deploy/")),
    ["deploy/my-clone@.service", "deploy/ready.js"],
  );
  const again = await lastcall(["init", "--yes"], clone);
  assertMatch(again.text, /a project already/);
});

test(
  "a name that npm would not take, and choices that are none",
  { skip },
  async () => {
    const at = folder();
    for (
      const name of [
        "a b",
        "../x",
        "a/b",
        "A",
        "$(id)",
        "a;b",
        "é",
        ".x",
        "",
        "a".repeat(215),
      ]
    ) {
      const { code, text } = await lastcall(
        ["create", "x", "--yes", `--name=${name}`],
        at,
      );
      assertEquals(code, 1, name);
      assertMatch(text, /is no name for a project; expected/);
    }
    const all = await lastcall(
      ["create", "x", "--yes", "--name=A", "--runtimes=php", "--deploy=ftp"],
      at,
    );
    assertMatch(
      all.text,
      /"A" is no name.*\n.*--runtimes has "php".*\n--deploy has "ftp"/,
    );
    const unknown = await lastcall(["create", "x", "--colour"], at);
    assertEquals(unknown.code, 2);
    assert(!/\n +at /.test(unknown.text), unknown.text);
    assertEquals(fs.readdirSync(at), []);
  },
);

test("a folder that is not its own to take", { skip }, async () => {
  const at = folder();
  fs.mkdirSync(path.join(at, "full"));
  fs.writeFileSync(path.join(at, "full/file"), "kept");
  fs.mkdirSync(path.join(at, "elsewhere"));
  fs.symlinkSync(path.join(at, "elsewhere"), path.join(at, "link"));
  fs.writeFileSync(path.join(at, "file"), "kept");
  const refused: [string, RegExp][] = [
    ["full", /full is not empty/],
    ["link", /link is a symbolic link/],
    ["file", /file is a file/],
    ["file/below", /file\/below cannot be made/],
    ["/proc/mine", /\/proc\/mine cannot be made/],
  ];
  for (const [target, why] of refused) {
    const { code, text } = await lastcall(
      ["create", target, "--yes", "--name=x"],
      at,
    );
    assertEquals(code, 1, text);
    assertMatch(text, why);
    assert(!/\n +at /.test(text), text);
  }
  assertEquals(fs.readdirSync(at).sort(), [
    "elsewhere",
    "file",
    "full",
    "link",
  ]);
  assertEquals(fs.readdirSync(path.join(at, "elsewhere")), []);
});

test("no git is one sentence, and --no-git needs none", { skip }, async () => {
  const at = folder();
  const env = { PATH: "/nowhere" };
  const { code, text } = await lastcall(["create", "x", "--yes"], at, env);
  assertEquals([code, text], [
    1,
    "There is no git on this machine; add --no-git.\n",
  ]);
  const without = await lastcall(["create", "x", "--yes", "--no-git"], at, env);
  assertEquals(without.code, 0, without.text);
  assertEquals(fs.existsSync(path.join(at, "x/.git")), false);
});

test("what interrupts it leaves nothing half made", { skip }, async () => {
  const at = folder(), bin = folder();
  // Stands where git commits, until it is ended.
  const git =
    `#!/bin/sh\ncase "$*" in *init*) echo reached >&2; exec sleep 60;; esac\n`;
  fs.writeFileSync(
    path.join(bin, "git"),
    git.replace("echo reached >&2", `: >${at}/reached`),
    { mode: 0o755 },
  );
  const reached = new Promise<void>((resolve) => {
    const watcher = fs.watch(at, (_, name) => {
      if (name !== "reached") return;
      watcher.close();
      resolve();
    });
  });
  const run = spawned(command(), ["create", "x", "--yes"], at, {
    PATH: `${bin}:${process.env.PATH}`,
  });
  await reached;
  // As a Ctrl-C in a terminal does: to all in the group.
  process.kill(-run.pid, "SIGINT");
  await run.exited;
  assertEquals(fs.readdirSync(at), ["reached"]);
});

test("a disk that is full", { skip }, async (t) => {
  const at = folder();
  const inside = `mount -t tmpfs -o size=200k none ${at} && cd ${at} && ` +
    `"$@" create x --yes; code=$?; ls -A; exit $code`;
  const rights = runtime === "deno" ? ["run", "--allow-all"] : [];
  const run = new Process([
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    inside,
    "sh",
    executable,
    ...rights,
    command(),
  ]);
  const { code } = await run.exited;
  const said = run.output("stderr");
  if (/unshare|mount:/.test(said) || code === null) return t.skip(said);
  assertEquals(code, 1, run.describe());
  assertMatch(said, /could not be written, and nothing was left there/);
  assertEquals(run.output(), "");
});

test(
  "every verb answers --help, and an unknown one is told",
  { skip },
  async () => {
    const at = folder();
    for (
      const verb of ["create", "init", "upgrade", "eject", "drill", "doctor"]
    ) {
      const { code, text } = await lastcall([verb, "--help"], at);
      assertEquals(code, 0, text);
      assert(text.length > 100, text);
    }
    assertEquals(
      (await lastcall(["--version"], at)).text,
      "0.1.0\n".replace(
        "0.1.0",
        JSON.parse(read(root, "lastcall/engine.json")).version,
      ),
    );
    const { code, text } = await lastcall(["deploy"], at);
    assertEquals(code, 2);
    assertMatch(text, /There is no lastcall deploy/);
    const outside = await lastcall(["upgrade"], at);
    assertMatch(outside.text, /no project of lastcall/);
  },
);
