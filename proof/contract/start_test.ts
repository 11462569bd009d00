/** The start: clauses S of lastcall/CONTRACT.md, against real processes. */
import { spawnSync } from "node:child_process";
import * as net from "node:net";
import * as path from "node:path";
import process from "node:process";
import { assertEquals, assertMatch } from "@std/assert";
import {
  certificateFiles,
  DAY,
  makeCertificate,
} from "../support/certificate.ts";
import { clause } from "../support/clause.ts";
import {
  assertWithin,
  ended,
  endedClean,
  failsToStart,
} from "../support/expect.ts";
import { RawClient, text } from "../support/raw_client.ts";
import {
  commandFor,
  runtime,
  scratchFolder,
  ServerProcess,
  spawnFixture,
  startFixture,
} from "../support/server_process.ts";

clause(
  "S1",
  "the log line carries a URL that works, and a socket that cannot be had is one sentence and exit 1",
  async ({ step, note }) => {
    for (const HOST of ["127.0.0.1", "0.0.0.0", "::1"]) {
      await step(`listening on ${HOST}`, async () => {
        const server = await startFixture({ HOST });
        const { json } = await server.logged("server listening");
        assertMatch(
          String(json?.runtime),
          new RegExp(`^${runtime} \\d+\\.\\d`),
        );
        assertEquals(json?.url, server.url);
        const client = await RawClient.dial(server.url);
        assertEquals(text(await client.get("/")), "hello");
        client.leave();
        server.signal("SIGTERM");
        await endedClean(server);
      });
    }

    await step("port taken", async () => {
      const other = net.createServer();
      await new Promise<void>((resolve) =>
        other.listen(0, "127.0.0.1", () => resolve())
      );
      const { port } = other.address() as net.AddressInfo;
      try {
        await failsToStart({ PORT: port }, new RegExp(`\\b${port}\\b`));
      } finally {
        await new Promise((resolve) => other.close(resolve));
      }
    });

    await step("port taken, and no run() around it", async () => {
      const other = await startFixture();
      const env = { NO_RUN: 1, NO_EXIT: 1, PORT: other.port };
      const server = await spawnFixture({ HOOKS: "db:ok", ...env });
      const { json } = await server.logged("uncaught error");
      assertMatch(
        String(json?.error),
        new RegExp(`^Port ${other.port} .+\\.$`),
      );
      assertEquals(json?.stack, undefined, "a sentence, not a stack");
      const { report } = await ended(server, 1);
      assertEquals(report.hooks.map(({ name }) => name), ["db"]);
      other.signal("SIGTERM");
      await endedClean(other);
    });

    await step("address not ours", async () => {
      await failsToStart({ HOST: "192.0.2.1" }, /192\.0\.2\.1/);
    });

    await step("privileged port", async () => {
      // Not read here: Deno opens /proc to nobody without all permissions.
      const free = spawnSync("cat", [
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
      ]);
      if (free.status !== 0 || Number(free.stdout) < 2) {
        return note("privileged port not tried: this system has none");
      }
      const without = "-net_bind_service";
      const drop = ["--bounding-set", without, "--inh-caps", without];
      const prefix = process.getuid?.() === 0 ? ["setpriv", ...drop] : [];
      await failsToStart({ PORT: 1 }, /port 1\b/, prefix);
    });

    const good = makeCertificate();
    const other = makeCertificate();
    const expired = makeCertificate({ to: Date.now() - 3 * DAY });
    const future = makeCertificate({ from: Date.now() + DAY });
    const garbage = "-----BEGIN CERTIFICATE-----\nnonsense\n";
    const badPairs: [string, { cert: string; key: string }, RegExp[]][] = [
      ["an expired certificate", expired, [/certificate expired on .+; renew/]],
      ["one that is not yet valid", future, [/is not valid before .+; wait/]],
      ["another's key", { ...good, key: other.key }, [/does not belong to/]],
      ["a certificate that is none", { ...good, cert: garbage }, [
        /certificate.* is not in PEM form; expected a PEM file/,
      ]],
      ["a key that is none", { ...good, key: garbage }, [
        /private key is not in PEM form; expected a PEM file/,
      ]],
      ["everything wrong at once", { ...expired, key: other.key }, [
        /certificate expired on/,
        /does not belong to/,
      ]],
    ];
    for (const [what, { cert, key }, expected] of badPairs) {
      const pattern = new RegExp(
        expected.map(({ source }) => source).join(".+"),
      );
      await step(`${what}, as PEM texts`, async () => {
        await failsToStart({ TLS_CERT: cert, TLS_KEY: key }, pattern);
      });
      await step(`${what}, as files`, async () => {
        await failsToStart(certificateFiles({ cert, key }), pattern);
      });
    }

    await step("files that cannot be read", async () => {
      const TLS_CERT = path.join(scratchFolder(), "no-such.pem");
      await failsToStart(
        { TLS_CERT, TLS_KEY: scratchFolder() },
        new RegExp(
          `certificate ${TLS_CERT} cannot be read: there is no such file; .+` +
            "private key cannot be read: it is a folder; ",
        ),
      );
    });
  },
);

clause(
  "S2",
  "a wrong configuration lists every problem at once, opens nothing and exits 78",
  async () => {
    const main = new ServerProcess(await commandFor("src/main.ts"), {
      env: { PORT: "80a", DRAIN_TIMEOUT_MS: "-1", IDLE_GRACE_MS: "soon" },
    });
    const exit = await main.exited;
    assertEquals([exit.code, exit.signal], [78, null], main.describe());
    assertEquals(main.output("stdout"), "", "nothing was opened");
    const problems = main.output("stderr").trimEnd().split("\n");
    assertEquals(problems.length, 3, main.describe());
    assertEquals(
      problems[0],
      'PORT is "80a"; expected a whole number from 0 to 65535, such as 3000.',
    );
    for (const problem of problems) {
      assertMatch(problem, /^[A-Z_]+ is ".*"; expected .*\.$/);
    }
  },
);

clause(
  "S3",
  "a signal during start-up stops it: what was opened is closed, nothing listens, exit 0",
  async ({ step }) => {
    const interrupted = async (
      env: Record<string, string | number>,
      limit: number,
    ) => {
      const server = await spawnFixture({ HOOKS: "db:ok", ...env });
      await server.event("starting");
      server.signal("SIGINT");
      const { exit, report } = await endedClean(server);
      assertWithin(exit.msSinceSignal, limit, "giving up the start");
      assertEquals(report.reason, "SIGINT");
      assertEquals(report.hooks.map(({ name }) => name), ["db"]);
      assertEquals(server.printed("server listening").length, 0);
    };

    await step(
      "a start that heeds the signal",
      () => interrupted({ SLOW_START_MS: 30_000, START_HEEDS_SIGNAL: 1 }, 500),
    );
    await step(
      "a start that goes on for a while and then wants to listen",
      () => interrupted({ SLOW_START_MS: 400 }, 900),
    );

    await step("the app's own main", async () => {
      const main = new ServerProcess(await commandFor("src/main.ts"));
      await main.logged("server listening");
      main.signal("SIGINT");
      const { report } = await endedClean(main);
      assertEquals(report.reason, "SIGINT");
    });
  },
);

clause(
  "S4",
  "serve on a controller that has begun shutting down refuses",
  async () => {
    const server = await spawnFixture({ BEGIN_FIRST: 1, HOOKS: "db:ok" });
    const { json } = await server.event("serve refused");
    assertMatch(String(json?.error), /shutting down/);
    const { report } = await endedClean(server);
    assertEquals(report.reason, "asked");
    assertEquals(report.hooks.map(({ name }) => name), ["db"]);
    assertEquals(server.printed("server listening").length, 0);
  },
);
