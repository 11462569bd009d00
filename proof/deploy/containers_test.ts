/**
 * There is no container engine here. So the Containerfile of the runtime at hand
 * is followed by hand: the same files, taken from what .dockerignore lets through;
 * the same commands, in a folder that has nothing else; the server and its health
 * check as a user without rights, who can write to the volume for data alone. What
 * this leaves out: that the base images have the binaries and the libraries.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import process from "node:process";
import { after, describe, test } from "node:test";
import { parse } from "yaml";
import { type Instruction, stages } from "../../tools/doctor/containerfile.ts";
import {
  binFolder,
  executable,
  killAll,
  Process,
  removeScratch,
  root,
  runtime,
  scratchFolder,
} from "../support/server_process.ts";

const RUNTIMES = ["deno", "bun", "node"];
/** Node then opens no debugger at a SIGUSR1. */
const QUIET = "--disable-sigusr1";
/** "nonroot" of the distroless images. */
const NONROOT = 65532;

const read = (file: string) => fs.readFileSync(path.join(root, file), "utf8");
const stagesOf = (name: string) => stages(read(`deploy/Containerfile.${name}`));

after(() => {
  killAll();
  removeScratch();
});

describe("each Containerfile", () => {
  for (const name of RUNTIMES) {
    const [build = [], last = [], ...more] = stagesOf(name);
    const find = (wanted: string) => last.find((one) => one.name === wanted);

    test(`${name}: builds in one stage, and ships another`, () => {
      assertEquals(more, []);
      for (const [i, stage] of [build, last].entries()) {
        assertEquals(stage[0]?.name, "FROM", `stage ${i + 1}`);
        // A tag at least; "latest" would be another image tomorrow.
        assert(/:[\w.-]+( AS \w+)?$/.test(stage[0]?.text ?? ""));
        assert(!/:latest\b/.test(stage[0]?.text ?? ""));
        // ADD unpacks and downloads; COPY does what it says.
        assert(!stage.some((one) => one.name === "ADD"));
      }
    });

    test(`${name}: pins the version that the tests run on`, () => {
      const pinned = /pinned: "([^"]+)"/g;
      const versions = [...read("scripts/runtimes.js").matchAll(pinned)]
        .map(([, version]) => version);
      const images = [build, last].flat()
        .flatMap(({ text }) => /\b(node|bun|deno):\S+/.exec(text)?.[0] ?? []);
      assert(images.length > 0);
      for (const image of images) {
        assert(versions.some((one) => image.includes(`${one}`)), image);
      }
    });

    test(`${name}: starts the server itself, as nobody special`, () => {
      assertEquals(find("ENTRYPOINT"), undefined);
      assertEquals(find("CMD")?.exec?.[0], name);
      assertEquals(find("USER")?.text, String(NONROOT));
      assertEquals(find("STOPSIGNAL")?.text, "SIGTERM");
      assertEquals(find("EXPOSE")?.text, "3000");
      assertEquals(healthCheck(last)[0], name);
      assert(last.filter((one) => one.name === "LABEL").length >= 3);
      // Nothing is run where there is no shell, and nothing runs as root.
      assert(!last.some((one) => one.name === "RUN"));
      for (const { exec } of build.filter((one) => one.name === "RUN")) {
        assert(exec, "RUN in its exec form needs no quoting");
      }
    });
  }

  test("deno: has the rights of `deno task start`, no more and no less", () => {
    const words = stagesOf("deno").at(-1)
      ?.find((one) => one.name === "CMD")?.exec ?? [];
    const task = JSON.parse(read("deno.json")).tasks.start.split(" ");
    const added = ["--cached-only", "--frozen"];
    assertEquals(words.filter((word) => !added.includes(word)), task);
    assert(task.includes("-P=server"));
  });
});

test("compose.yaml: no two services build an image of one name", () => {
  const { services } = parse(read("deploy/compose.yaml"), { merge: true });
  const names = Object.entries<{ build?: unknown; image?: string }>(services)
    .filter(([, { build }]) => build !== undefined)
    .map(([service, { image }]) => image ?? `lastcall-${service}`);
  assertEquals(names, ["lastcall-app1", "lastcall-app2"]);
});

describe(`what Containerfile.${runtime} ships`, () => {
  test("is built from the files it names, serves, is healthy, and drains", async () => {
    const context = path.join(scratchFolder(), "context");
    sendContext(context);
    const [build = [], last = []] = stagesOf(runtime);
    const buildRoot = path.join(scratchFolder(), "build");
    const shipped = path.join(scratchFolder(), "shipped");
    await follow(build, buildRoot, context);
    const env = await follow(last, shipped, context, buildRoot);
    // Whoever runs it may look into our scratch folder, and write nowhere.
    fs.chmodSync(scratchFolder(), 0o755);

    const inside = path.join(shipped, "app");
    assert(!fs.existsSync(path.join(inside, "node_modules/typescript")));
    const cached = path.join(inside, ".deno/npm/registry.npmjs.org");
    assertEquals(fs.existsSync(cached), runtime === "deno");
    assert(!fs.existsSync(path.join(cached, "bun-types")));
    if (process.getuid?.() === 0) {
      assertEquals(fs.statSync(path.join(inside, "data")).uid, NONROOT);
    }
    const run = (command: string[], extra: Record<string, string> = {}) =>
      new Process(unprivileged(command), {
        cwd: inside,
        env: { ...env, ...extra, PATH: searchPath(), HOME: "/nonexistent" },
      });
    const command = last.find((one) => one.name === "CMD")?.exec ?? [];
    assertEquals(env.PORT, "3000");
    // Which may be somebody's here.
    const server = run(command.filter(isKnown), { PORT: "0" });
    const { json } = await server.logged("server listening");
    const port = new URL(String(json?.url)).port;
    assertStringIncludes(String(json?.runtime), runtime);
    assertEquals(
      await (await fetch(`http://127.0.0.1:${port}/readyz`)).json(),
      {
        status: "serving",
      },
    );

    // It would say on stderr where the debugger listens.
    if (runtime === "node" && isKnown(QUIET)) {
      process.kill(server.pid, "SIGUSR1");
      assertEquals((await fetch(`http://127.0.0.1:${port}/livez`)).status, 200);
    }

    const check = healthCheck(last);
    assertEquals((await run(check, { PORT: port }).exited).code, 0);

    server.signal("SIGTERM");
    assertEquals((await server.exited).code, 0, server.describe());
    assertEquals(server.report().outcome, "clean");
    assertEquals(server.output("stderr"), "");

    const ill = run(check, { PORT: port });
    assertEquals((await ill.exited).code, 1);
    assertStringIncludes(ill.output("stderr"), `:${port}/livez failed`);

    // What follows is the check's own; any server will do.
    const other = http.createServer((_, response) => response.end());
    other.listen(0, "127.0.0.2");
    await once(other, "listening");
    const { port: ownPort } = other.address() as AddressInfo;
    const PORT = String(ownPort);
    try {
      const there = run(check, { PORT, HOST: "127.0.0.2" });
      assertEquals((await there.exited).code, 0, there.describe());
      const elsewhere = run(check, { PORT });
      assertEquals((await elsewhere.exited).code, 1);

      const tls = { HOST: "127.0.0.2", TLS_CERT: "tls/cert.pem" };
      const admin = { ADMIN_PORT: PORT, ADMIN_HOST: "127.0.0.2" };
      const beside = run(check, { ...tls, PORT: "1", ...admin });
      assertEquals((await beside.exited).code, 0, beside.describe());
      // Where it listens unless told otherwise, HOST or not.
      const nobody = run(check, { ...tls, PORT: "1", ADMIN_PORT: PORT });
      assertEquals((await nobody.exited).code, 1);
      assertStringIncludes(nobody.output("stderr"), `127.0.0.1:${PORT}/livez`);
      const blind = run(check, { ...tls, PORT });
      assertEquals((await blind.exited).code, 1);
      assertStringIncludes(blind.output("stderr"), "; set ADMIN_PORT, such as");
    } finally {
      other.close();
    }
  });
});

/** Node 20, which no image of ours has, does not start with it. */
function isKnown(word: string): boolean {
  return word !== QUIET ||
    spawnSync(executable, [QUIET, "--eval", ""]).status === 0;
}

function healthCheck(stage: Instruction[]): string[] {
  const { text = "" } = stage.find((one) => one.name === "HEALTHCHECK") ?? {};
  return JSON.parse(/ CMD (\[.*\])$/.exec(text)?.[1] ?? "[]");
}

/** What `docker build` would send: .dockerignore keeps all out but what it lists. */
function sendContext(folder: string): void {
  const lines = read(".dockerignore").split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const [everything, ...but] = lines;
  assertEquals(everything, "*");
  for (const line of but) {
    assert(
      /^![\w./-]+$/.test(line),
      `"${line}" is more than this test can read`,
    );
    copy(path.join(root, line.slice(1)), path.join(folder, line.slice(1)));
  }
}

/** Does what one stage says, with `/` at `stage`. Returns its environment. */
async function follow(
  instructions: Instruction[],
  stage: string,
  context: string,
  from?: string,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  let workdir = "/";
  const inStage = (file: string) =>
    path.join(stage, path.resolve(workdir, file));
  for (const { name, text, exec } of instructions) {
    if (name === "WORKDIR") {
      workdir = text;
      fs.mkdirSync(inStage("."), { recursive: true });
    } else if (name === "ENV") {
      const [, key = "", value = ""] = /^(\w+)=(.*)$/.exec(text) ?? [];
      env[key] = value.startsWith("/") ? path.join(stage, value) : value;
    } else if (name === "COPY") {
      const all = text.split(" ");
      const words = all.filter((word) => !word.startsWith("--"));
      const source = all.find((word) => word.startsWith("--from="));
      const [, owner] = /--chown=(\d+):\1(?= )/.exec(text) ?? [];
      const target = words.pop() ?? "";
      // The runtime comes from its image; here it is the one under test.
      if (target === `/usr/local/bin/${runtime}`) continue;
      const origin = source === undefined ? context : from;
      assert(source === undefined || source === "--from=build");
      assert(origin);
      for (const word of words) {
        const to = inStage(target);
        // Several files, or a folder's "./": into it, under their own names.
        const file = target.endsWith("/") && path.extname(word) !== "";
        copy(
          path.join(origin, word),
          file ? path.join(to, path.basename(word)) : to,
        );
        if (owner !== undefined && process.getuid?.() === 0) {
          fs.chownSync(to, Number(owner), Number(owner));
        }
      }
    } else if (name === "RUN") {
      const command = new Process(exec ?? [], {
        cwd: inStage("."),
        env: { ...env, PATH: searchPath() },
      });
      const { code } = await command.exited;
      assertEquals(code, 0, `RUN ${text}: ${command.describe()}`);
    }
  }
  return env;
}

function copy(from: string, to: string): void {
  assert(fs.existsSync(from), `there is no ${from}`);
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

/** The runtime under test first. */
function searchPath(): string {
  return [binFolder(), process.env.PATH].join(path.delimiter);
}

/** As root, whoever it is would be allowed everything. */
function unprivileged(command: string[]): string[] {
  if (process.getuid?.() !== 0) return command;
  const id = String(NONROOT);
  const drop = [
    "--reuid",
    id,
    "--regid",
    id,
    "--clear-groups",
    "--no-new-privs",
  ];
  return ["setpriv", ...drop, ...command];
}
