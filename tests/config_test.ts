import { describe, test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { type Config, readConfig } from "../src/config.ts";

function read(env: Record<string, string>) {
  return readConfig((name) => env[name]);
}

function configOf(env: Record<string, string>): Config {
  const result = read(env);
  assert(result.ok, result.ok ? "" : result.problems.join("\n"));
  return result.config;
}

function problemsOf(env: Record<string, string>): string[] {
  const result = read(env);
  assert(!result.ok, "expected problems, got a config");
  return result.problems;
}

const DEFAULTS: Config = {
  hostname: "0.0.0.0",
  port: 3000,
  drainDelay: 0,
  idleGrace: 250,
  drainTimeout: 10_000,
  cleanupTimeout: 5_000,
  databaseUrl: undefined, // example
  databaseConnectTimeout: 30_000, // example
};

describe("config", () => {
  test("an empty environment gives the defaults", () => {
    assertEquals(configOf({}), DEFAULTS);
  });

  test("every variable is heeded", () => {
    assertEquals(
      configOf({
        PORT: "8080",
        HOST: "127.0.0.1",
        DRAIN_DELAY_MS: "1",
        IDLE_GRACE_MS: "2",
        DRAIN_TIMEOUT_MS: "3",
        CLEANUP_TIMEOUT_MS: "4",
      }),
      {
        hostname: "127.0.0.1",
        port: 8080,
        drainDelay: 1,
        idleGrace: 2,
        drainTimeout: 3,
        cleanupTimeout: 4,
        databaseUrl: undefined, // example
        databaseConnectTimeout: 30_000, // example
      },
    );
  });

  test("a variable that is set but empty counts as not set", () => {
    assertEquals(configOf({ PORT: "", HOST: "", IDLE_GRACE_MS: "" }), DEFAULTS);
  });

  test("the edges of each range are inside it", () => {
    assertEquals(configOf({ PORT: "0" }).port, 0);
    assertEquals(configOf({ PORT: "65535" }).port, 65_535);
    assertEquals(configOf({ DRAIN_TIMEOUT_MS: "0" }).drainTimeout, 0);
    assertEquals(
      configOf({ DRAIN_TIMEOUT_MS: "2147483647" }).drainTimeout,
      2_147_483_647,
    );
  });

  test("a host may be a name, an IPv4 or an IPv6 address", () => {
    for (const HOST of ["localhost", "127.0.0.1", "::1", "::"]) {
      assertEquals(configOf({ HOST }).hostname, HOST);
    }
  });

  test("a wrong value is named in one sentence that says what is right", () => {
    assertEquals(problemsOf({ PORT: "80a" }), [
      'PORT is "80a"; expected a whole number from 0 to 65535.',
    ]);
    assertEquals(problemsOf({ DRAIN_DELAY_MS: "soon" }), [
      'DRAIN_DELAY_MS is "soon"; expected a whole number of milliseconds from 0 to 2147483647.',
    ]);
    assertEquals(problemsOf({ HOST: "http://localhost" }), [
      'HOST is "http://localhost"; expected a host name or an IP address alone, such as 127.0.0.1.',
    ]);
  });

  test("what is not a plain whole number in range is refused", () => {
    const wrong = ["-1", "1.5", "1e3", "0x50", " 80", "80 ", "٣", "Infinity"];
    for (const PORT of [...wrong, "65536", "9".repeat(400)]) {
      assertEquals(problemsOf({ PORT }).length, 1, PORT);
    }
    // One more would wrap around to a timer that fires at once.
    assertEquals(problemsOf({ IDLE_GRACE_MS: "2147483648" }).length, 1);
  });

  test("a problem stays on one line, whatever the value", () => {
    assertEquals(problemsOf({ HOST: "a\nb" }), [
      'HOST is "a\\nb"; expected a host name or an IP address alone, such as 127.0.0.1.',
    ]);
  });

  test("every problem is reported at once", () => {
    const problems = problemsOf({
      PORT: "x",
      HOST: " ",
      DRAIN_DELAY_MS: "x",
      IDLE_GRACE_MS: "x",
      DRAIN_TIMEOUT_MS: "x",
      CLEANUP_TIMEOUT_MS: "x",
    });
    assertEquals(problems.map((problem) => problem.split(" ")[0]), [
      "PORT",
      "HOST",
      "DRAIN_DELAY_MS",
      "IDLE_GRACE_MS",
      "DRAIN_TIMEOUT_MS",
      "CLEANUP_TIMEOUT_MS",
    ]);
  });
});
