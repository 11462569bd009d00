import { assert, assertEquals, assertMatch } from "@std/assert";
import { after, afterEach, describe, test } from "node:test";
import { makeCertificate } from "../support/certificate.ts";
import {
  killAll,
  removeScratch,
  runtime,
  type SpawnOptions,
} from "../support/server_process.ts";
import {
  command,
  devCommand,
  portOf,
  projectWith,
  start,
  startWith,
} from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const PRINT = startWith("--print-config");

describe(PRINT, () => {
  test("prints what holds and where it comes from, and serves nothing", async () => {
    const env = { PORT: 8080, LOG_LEVEL: "" };
    const printing = command(PRINT, env);
    const { code } = await printing.exited;
    assertEquals(code, 0, printing.describe());
    const lines = printing.lines.map(({ text }) => text);
    for (
      const line of [
        "PORT=8080  # environment",
        "HOST=127.0.0.1  # environment",
        "DRAIN_TIMEOUT_MS=10000  # default",
        "LOG_LEVEL=info  # default",
        "# ADMIN_PORT=  # not set",
      ]
    ) assert(lines.includes(line), `${line}\n${printing.describe()}`);
    assertEquals(printing.printed("server listening"), []);
  });

  test("says what is wrong, and exits with 78", async () => {
    const printing = command(PRINT, { PORT: "80a", TLS_CERT: "cert.pem" });
    const { code } = await printing.exited;
    assertEquals(code, 78, printing.describe());
    assertMatch(printing.output("stdout"), /^PORT=80a {2}# environment$/m);
    const stderr = printing.output("stderr");
    assertMatch(stderr, /^PORT is "80a"; expected a whole number/m);
    assertMatch(stderr, /^TLS_KEY is not set; expected a path/m);
  });
});

describe("a start that fails", () => {
  const good = makeCertificate(), other = makeCertificate();
  const none = "-----BEGIN CERTIFICATE-----\nnonsense\n";
  const starts: [SpawnOptions["env"], string][] = [
    [{ HOST: "192.0.2.1" }, "HOST"],
    [{ TLS_CERT: none, TLS_KEY: good.key }, "TLS_CERT"],
    [{ TLS_CERT: good.cert, TLS_KEY: none }, "TLS_KEY"],
    [{ TLS_CERT: "no-such.pem", TLS_KEY: "no-such.pem" }, "TLS_CERT, TLS_KEY"],
    [{ TLS_CERT: good.cert, TLS_KEY: other.key }, "TLS_CERT, TLS_KEY"],
  ];
  for (const [i, [env, names]] of starts.entries()) {
    test(`names ${names} (${i + 1})`, async () => {
      const server = await start(env);
      const { json } = await server.logged("start-up failed");
      assertMatch(String(json?.error), new RegExp(` \\(${names}\\)\\.$`));
      assertEquals((await server.exited).code, 1, server.describe());
    });
  }
});

if (runtime === "node") {
  test("node dist/main.js --print-config does the same", async () => {
    const printing = command("node dist/main.js --print-config");
    const { code } = await printing.exited;
    assertEquals(code, 0, printing.describe());
    assertMatch(printing.output(), /^PORT=0 {2}# environment$/m);
  });
}

describe("a .env file", () => {
  const ENV = "ADMIN_PORT=0\nLOG_LEVEL=error\n";

  test(`is read by ${devCommand}, and the environment goes before it`, async () => {
    const folder = projectWith(ENV);
    const server = command(devCommand, { LOG_LEVEL: "info" }, folder);
    await portOf(server, "admin server listening");
    await portOf(server);
  });

  test(`is not read by ${PRINT.replace(/ .*/, "")}'s start`, async () => {
    const printing = command(PRINT, {}, projectWith(ENV));
    const { code } = await printing.exited;
    assertEquals(code, 0, printing.describe());
    assertMatch(printing.output(), /^# ADMIN_PORT= {2}# not set$/m);
    assertMatch(printing.output(), /^LOG_LEVEL=info {2}# default$/m);
  });
});
