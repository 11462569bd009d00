// A Postgres for tests: the one that TEST_DATABASE_URL names, or one of our own
// in a folder of its own, where the machine has the programs.

import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";

/**
 * Sets TEST_DATABASE_URL where it is not set and can be. Returns how to stop
 * what it has started.
 *
 * @returns {Promise<{ stop: () => Promise<void> } | undefined>}
 */
export async function startPostgres() {
  if (process.env["TEST_DATABASE_URL"]) return undefined;
  const server = await startOwnPostgres();
  if (server) process.env["TEST_DATABASE_URL"] = server.url;
  return server && {
    async stop() {
      await server.stop();
      delete process.env["TEST_DATABASE_URL"];
    },
  };
}

/**
 * One that nobody else uses, and that can be stopped and started again.
 *
 * @returns {Promise<
 *   { url: string, down: () => Promise<void>, up: () => Promise<void>,
 *     stop: () => Promise<void> } | undefined
 * >}
 */
export async function startOwnPostgres() {
  const programs = findPrograms();
  if (!programs) return undefined; // the tests say so, each where it is skipped

  // Postgres refuses to run as root; the package brings a user for it.
  const asUser = execFileSync("id", ["-u"], { encoding: "utf8" }) === "0\n"
    ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
    : [];
  const folder = mkdtempSync(join(tmpdir(), "lastcall-postgres-"));
  chmodSync(folder, 0o777);
  const data = join(folder, "data");
  const [program = "", ...args] = [
    ...asUser,
    join(programs, "initdb"),
    ...["-D", data, "-U", "postgres", "--auth=trust", "--no-sync"],
    ...["--encoding=UTF8", "--locale=C"],
  ];
  execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"] });

  // A port cannot be reserved for another program: it tries what may be free.
  for (let tries = 1;; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const start = () =>
      launch(
        [...asUser, join(programs, "postgres"), "-D", data],
        ["-p", `${port}`, "-k", folder, "-c", "listen_addresses=127.0.0.1"],
      );
    let server = await start();
    if (typeof server !== "string") {
      const down = async () => {
        if (typeof server !== "string") await server.stop();
        server = "";
      };
      return {
        url: `postgres://postgres@127.0.0.1:${port}/postgres`,
        down,
        async up() {
          server = await start();
          if (typeof server === "string") throw new Error(server);
        },
        async stop() {
          await down();
          rmSync(folder, { recursive: true, force: true });
        },
      };
    }
    if (tries === 5) throw new Error(`Postgres does not start:\n${server}`);
  }
}

/** Debian keeps them out of PATH, one folder a version. */
function findPrograms() {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  return [
    ...versions.map(Number).sort((a, b) => b - a)
      .map((version) => join(debian, `${version}`, "bin")),
    ...(process.env["PATH"] ?? "").split(":"),
  ].find((folder) => existsSync(join(folder, "initdb")));
}

/**
 * Resolves when it accepts connections, with its output if it never does. The
 * shell between us ends it when we are gone, however that came about: then its
 * standard input closes.
 *
 * @param {string[]} command
 * @param {string[]} options
 * @returns {Promise<{ stop: () => Promise<void> } | string>}
 */
async function launch(command, options) {
  const script = '"$@" </dev/null & read _; kill -INT $!; wait $!';
  const fast = ["-c", "fsync=off"]; // it need not outlive the machine
  const shell = spawn(
    "sh",
    ["-c", script, "sh", ...command, ...options, ...fast],
    { stdio: ["pipe", "ignore", "pipe"], detached: true },
  );
  const ended = new Promise((resolve) => shell.on("close", resolve));
  let output = "";
  const isUp = await new Promise((resolve) => {
    createInterface({ input: shell.stderr }).on("line", (line) => {
      output += `${line}\n`;
      if (line.includes("ready to accept connections")) resolve(true);
      // The shell waits for us, not for it.
      if (line.includes("database system is shut down")) resolve(false);
      // What a client is told that came too early is no failure of its own.
      if (line.includes("FATAL") && !line.includes("starting up")) {
        resolve(false);
      }
    });
    shell.on("close", () => resolve(false));
  });
  const stop = async () => {
    shell.stdin.end();
    await ended;
  };
  if (isUp) return { stop };
  await stop();
  return output;
}
