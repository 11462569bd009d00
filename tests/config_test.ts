import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import * as v from "valibot";
import { listConfig, readConfig, schema } from "../src/config.ts";
import { listEnvironment, readEnvironment } from "../src/kit/environment.ts";
import { secret, text } from "../src/kit/variables.ts";
import { configOf as usualConfigOf, usual } from "./app_setup.ts";

/** In an environment that has no more than the app needs. */
function read(env: Record<string, string>) {
  const all: Record<string, string> = { ...usual, DEMO: "", ...env };
  return readConfig((name) => all[name]);
}

const configOf = (env: Record<string, string>) =>
  usualConfigOf({ DEMO: "", ...env });

function problemsOf(env: Record<string, string>): string[] {
  const result = read(env);
  assert(!result.ok, "expected problems, got a config");
  return result.problems;
}

const DEFAULTS = {
  hostname: "0.0.0.0",
  port: 3000,
  drainDelay: 0,
  idleGrace: 250,
  drainTimeout: 10_000,
  cleanupTimeout: 5_000,
  requestTimeout: 30_000,
  logFormat: "auto",
  logLevel: "info",
  adminPort: undefined,
  adminHostname: "127.0.0.1",
  demo: false,
  corsOrigins: [],
  trustedProxies: [],
  reusePort: false,
};

/** Without the variables that are the app's own, or a feature's. */
function kitOf(env: Record<string, string>): Record<string, unknown> {
  const { tls, ...config } = configOf(env);
  const known = Object.entries(config).filter(([name]) => name in DEFAULTS);
  return { ...Object.fromEntries(known), ...tls && { tls } };
}

describe("config", () => {
  test("an empty environment gives the defaults", () => {
    assertEquals(kitOf({}), DEFAULTS);
  });

  test("every variable is heeded", () => {
    assertEquals(
      kitOf({
        PORT: "8080",
        HOST: "127.0.0.1",
        DRAIN_DELAY_MS: "1",
        IDLE_GRACE_MS: "2",
        DRAIN_TIMEOUT_MS: "3",
        CLEANUP_TIMEOUT_MS: "4",
        REQUEST_TIMEOUT_MS: "5",
        LOG_FORMAT: "pretty",
        LOG_LEVEL: "warn",
        ADMIN_PORT: "9090",
        ADMIN_HOST: "10.0.0.1",
        DEMO: "true",
        CORS_ORIGINS: "https://a.example, http://localhost:5173",
        TRUSTED_PROXIES: "loopback, 10.1.0.0/16,2001:db8::1",
        TLS_CERT: "cert.pem",
        TLS_KEY: "key.pem",
        REUSE_PORT: "true",
      }),
      {
        hostname: "127.0.0.1",
        port: 8080,
        drainDelay: 1,
        idleGrace: 2,
        drainTimeout: 3,
        cleanupTimeout: 4,
        requestTimeout: 5,
        logFormat: "pretty",
        logLevel: "warn",
        adminPort: 9090,
        adminHostname: "10.0.0.1",
        demo: true,
        corsOrigins: ["https://a.example", "http://localhost:5173"],
        trustedProxies: ["loopback", "10.1.0.0/16", "2001:db8::1"],
        tls: { cert: "cert.pem", key: "key.pem" },
        reusePort: true,
      },
    );
  });

  test("a variable that is set but empty counts as not set", () => {
    assertEquals(kitOf({ PORT: "", HOST: "", IDLE_GRACE_MS: "" }), DEFAULTS);
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
      'PORT is "80a"; expected a whole number from 0 to 65535, such as 3000.',
    ]);
    assertEquals(problemsOf({ DRAIN_DELAY_MS: "soon" }), [
      'DRAIN_DELAY_MS is "soon"; expected a whole number of milliseconds from 0 to 2147483647, such as 500.',
    ]);
    assertEquals(problemsOf({ LOG_LEVEL: "loud", LOG_FORMAT: "xml" }), [
      'LOG_FORMAT is "xml"; expected auto, json or pretty.',
      'LOG_LEVEL is "loud"; expected debug, info, warn or error.',
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

  test("an origin has no path, and a scheme", () => {
    for (
      const CORS_ORIGINS of ["app.example", "https://a.example/", "https://a,,"]
    ) {
      assertEquals(problemsOf({ CORS_ORIGINS }), [
        `CORS_ORIGINS is ${JSON.stringify(CORS_ORIGINS)}; expected origins ` +
        "separated by commas, such as https://app.example, or *.",
      ]);
    }
    assertEquals(configOf({ CORS_ORIGINS: "*" }).corsOrigins, ["*"]);
  });

  test("a proxy is an address, a range or a name", () => {
    for (
      const TRUSTED_PROXIES of [
        "proxy.example",
        "10.0.0.0/33",
        "10.0.0/8",
        "::1/129",
        "10.0.0.1,",
        "toString",
        "*",
      ]
    ) {
      assertEquals(problemsOf({ TRUSTED_PROXIES }), [
        `TRUSTED_PROXIES is ${JSON.stringify(TRUSTED_PROXIES)}; expected ` +
        "addresses or ranges separated by commas, such as 10.1.0.0/16, or " +
        "loopback or private.",
      ]);
    }
  });

  test("a certificate needs its key, and a key its certificate", () => {
    assertEquals(problemsOf({ TLS_CERT: "c.pem" }), [
      "TLS_KEY is not set; expected a path such as key.pem, because TLS_CERT is set.",
    ]);
    assertEquals(problemsOf({ TLS_KEY: "k.pem" }), [
      "TLS_CERT is not set; expected a path such as cert.pem, because TLS_KEY is set.",
    ]);
  });

  test("the admin port is another one, unless the system picks both", () => {
    assertEquals(problemsOf({ PORT: "80", ADMIN_PORT: "80" }), [
      'ADMIN_PORT is "80"; expected another port than PORT has, such as 9090.',
    ]);
    assertEquals(problemsOf({ ADMIN_PORT: "3000" }).length, 1);
    assertEquals(configOf({ PORT: "0", ADMIN_PORT: "0" }).adminPort, 0);
  });

  test("every problem is reported at once, those between two variables too", () => {
    const problems = problemsOf({
      PORT: "x",
      HOST: " ",
      DRAIN_DELAY_MS: "x",
      IDLE_GRACE_MS: "x",
      DRAIN_TIMEOUT_MS: "x",
      CLEANUP_TIMEOUT_MS: "x",
      ADMIN_PORT: "x",
      TLS_CERT: "c.pem",
    });
    assertEquals(problems.map((problem) => problem.split(" ")[0]), [
      "PORT",
      "HOST",
      "DRAIN_DELAY_MS",
      "IDLE_GRACE_MS",
      "DRAIN_TIMEOUT_MS",
      "CLEANUP_TIMEOUT_MS",
      "ADMIN_PORT",
      "TLS_KEY",
    ]);
  });
});

describe("the listing of the config", () => {
  const list = (env: Record<string, string>) => listConfig((name) => env[name]);

  test("says of each variable what holds, and where it comes from", () => {
    const lines = list({ PORT: "80a", HOST: "", ADMIN_PORT: "9090" })
      .split("\n");
    assertEquals(lines.length, Object.keys(schema.entries).length);
    for (
      const line of [
        "PORT=80a  # environment",
        "HOST=0.0.0.0  # default",
        "ADMIN_PORT=9090  # environment",
        "# CORS_ORIGINS=  # not set",
      ]
    ) assert(lines.includes(line), `${line}\n${lines.join("\n")}`);
  });

  test("keeps every value on its line", () => {
    const lines = list({ HOST: "a\n\x1b[31mPORT=1" }).split("\n");
    assert(lines.includes('HOST="a\\n\\u001b[31mPORT=1"  # environment'));
  });
});

describe("a secret", () => {
  const secrets = v.object({
    TOKEN: secret(
      v.optional(v.pipe(v.string(), v.minLength(20, "20 letters"))),
    ),
    KEY: secret(v.optional(v.string(), "changeme")),
  });
  const env = (name: string) => name === "TOKEN" ? "hunter2" : undefined;

  test("is in no problem", () => {
    assertEquals(readEnvironment(secrets, env), {
      ok: false,
      problems: ["TOKEN is a value of 7 characters; expected 20 letters."],
    });
  });

  test("is what the private key may be", () => {
    const key = "-----BEGIN PRIVATE KEY-----";
    const listing = listConfig((name) => name === "TLS_KEY" ? key : undefined);
    assert(!listing.includes(key));
    assert(listing.includes("TLS_KEY=***  # environment, 27 characters"));
  });

  test("is in no listing", () => {
    assertEquals(
      listEnvironment(secrets, env),
      "TOKEN=***  # environment, 7 characters\nKEY=***  # default, 8 characters",
    );
  });
});

describe("a required variable", () => {
  const required = v.object({
    GREETING: text("a word, such as Hello", (word) => word !== ""),
    TOKEN: secret(v.string()),
    LEVEL: v.picklist(["low", "high"], "low or high"),
  });

  test("that is missing is named, with what is right", () => {
    assertEquals(readEnvironment(required, () => undefined), {
      ok: false,
      problems: [
        "GREETING is not set; expected a word, such as Hello.",
        "TOKEN is not set; expected a value.",
        "LEVEL is not set; expected low or high.",
      ],
    });
  });

  test("says so in the listing", () => {
    const env = (name: string) => name === "TOKEN" ? "hunter2" : undefined;
    assertEquals(listEnvironment(required, env).split("\n"), [
      "# GREETING=  # not set, and has to be",
      "TOKEN=***  # environment, 7 characters",
      "# LEVEL=  # not set, and has to be",
    ]);
  });

  test("is read like any other", () => {
    const config = { GREETING: "Hi", TOKEN: "hunter2", LEVEL: "low" } as const;
    const env = (name: string) => config[name as keyof typeof config];
    assertEquals(readEnvironment(required, env), { ok: true, config });
  });
});

// `npm run check` runs these.
describe("every place has every variable", () => {
  const names = Object.keys(schema.entries);
  const example = [
    ...readFileSync(".env.example", "utf8")
      .matchAll(/^(# ?)?([A-Z][A-Z0-9_]+)=(.*)$/gm),
  ].map(([, off, name = "", value = ""]) => ({ isSet: !off, name, value }));

  /** One line for each that is forgotten, or that nobody knows. */
  function compare(place: string, listed: string[]): void {
    const problems = [
      ...names.filter((name) => !listed.includes(name)).map((name) =>
        `${name} is in the schema of src/config.ts, and not in ${place}.`
      ),
      ...listed.filter((name) => !names.includes(name)).map((name) =>
        `${name} is in ${place}, and not in the schema of src/config.ts.`
      ),
    ];
    assertEquals(problems, []);
  }

  test("deno.json, whose permissions start and dev have", (t) => {
    const { permissions, tasks } = JSON.parse(
      readFileSync("deno.json", "utf8"),
    );
    if (!permissions) return t.skip("nothing is served by Deno");
    compare(
      "the permissions of deno.json (server, env, allow)",
      permissions.server.env.allow,
    );
    for (const task of ["start", "dev"]) {
      assertMatch(tasks[task], /^deno run .*-P=server src\/main\.ts$/);
    }
  });

  test(".env.example", () => {
    compare(".env.example", example.map(({ name }) => name));
  });

  test(".env.example, which shows the defaults, and sets what is required", () => {
    for (const { name, value, isSet } of example) {
      const entry = schema.entries[name as keyof typeof schema.entries];
      const fallback = v.getDefault(entry as v.GenericSchema);
      if (fallback !== undefined) assertEquals(value, fallback, name);
      assertEquals(
        isSet,
        !v.is(entry, undefined),
        `${name} is required or not`,
      );
    }
  });

  test(".env.example, whose values are right", () => {
    configOf(
      Object.fromEntries(example.map(({ name, value }) => [name, value])),
    );
  });
});
