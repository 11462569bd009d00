/**
 * The environment, read once. These are the app's only defaults and its only
 * validation: whoever gets a `Config` need not check it again.
 *
 * @module
 */
import * as v from "valibot";
import { DATABASE_URL_EXPECTED, isDatabaseUrl } from "./bookmarks/mod.ts"; // example:line
import {
  type ConfigResult,
  type Environment,
  listEnvironment,
  readEnvironment,
  secret,
} from "./kit/environment.ts";
import { LONGEST_WAIT } from "#lastcall";

/** `expected` is the end of the sentence that a wrong value is answered with. */
function text(expected: string, fits: (text: string) => boolean) {
  return v.pipe(v.string(), v.check(fits, expected));
}

function wholeNumber(max: number, expected: string) {
  const fits = (text: string) => /^[0-9]+$/.test(text) && Number(text) <= max;
  return v.pipe(text(expected, fits), v.transform(Number));
}

const port = wholeNumber(
  65_535,
  "a whole number from 0 to 65535, such as 3000",
);
const time = wholeNumber(
  LONGEST_WAIT,
  `a whole number of milliseconds from 0 to ${LONGEST_WAIT}, such as 500`,
);
const host = text(
  "a host name or an IP address alone, such as 127.0.0.1",
  (host) => !/[\s/]/.test(host),
);
const path = v.string();
const flag = v.pipe(
  v.picklist(["true", "false"], "true or false"),
  v.transform((text) => text === "true"),
);

/** Every variable, its default, and what is right; times in milliseconds. */
export const schema = v.pipe(
  v.object({
    PORT: v.optional(port, "3000"),
    HOST: v.optional(host, "0.0.0.0"),
    DRAIN_DELAY_MS: v.optional(time, "0"),
    IDLE_GRACE_MS: v.optional(time, "250"),
    DRAIN_TIMEOUT_MS: v.optional(time, "10000"),
    CLEANUP_TIMEOUT_MS: v.optional(time, "5000"),
    REQUEST_TIMEOUT_MS: v.optional(time, "30000"),
    LOG_FORMAT: v.optional(
      v.picklist(["auto", "json", "pretty"], "auto, json or pretty"),
      "auto",
    ),
    LOG_LEVEL: v.optional(
      v.picklist(
        ["debug", "info", "warn", "error"],
        "debug, info, warn or error",
      ),
      "info",
    ),
    ADMIN_PORT: v.optional(port),
    ADMIN_HOST: v.optional(host, "127.0.0.1"),
    DEMO: v.optional(flag, "false"),
    CORS_ORIGINS: v.optional(
      v.pipe(
        v.string(),
        v.transform((list) => list.split(",").map((origin) => origin.trim())),
        v.check(
          (origins) => origins.every((one) => one === "*" || isOrigin(one)),
          "origins separated by commas, such as https://app.example, or *",
        ),
      ),
    ),
    TLS_CERT: v.optional(path),
    // A path; but who puts the key itself here must not find it in a log.
    TLS_KEY: secret(v.optional(path)),
    REUSE_PORT: v.optional(flag, "false"),
    // example:begin
    DATABASE_URL: secret(
      v.optional(text(DATABASE_URL_EXPECTED, isDatabaseUrl)),
    ),
    DATABASE_CONNECT_TIMEOUT_MS: v.optional(time, "30000"),
    // example:end
  }),
  v.forward(
    v.partialCheck(
      [["PORT"], ["ADMIN_PORT"]],
      ({ PORT, ADMIN_PORT }) => PORT !== ADMIN_PORT || PORT === 0,
      "another port than PORT has, such as 9090",
    ),
    ["ADMIN_PORT"],
  ),
  v.forward(
    v.partialCheck(
      [["TLS_CERT"], ["TLS_KEY"]],
      ({ TLS_CERT, TLS_KEY }) => !TLS_CERT || !!TLS_KEY,
      "a path such as key.pem, because TLS_CERT is set",
    ),
    ["TLS_KEY"],
  ),
  v.forward(
    v.partialCheck(
      [["TLS_CERT"], ["TLS_KEY"]],
      ({ TLS_CERT, TLS_KEY }) => !TLS_KEY || !!TLS_CERT,
      "a path such as cert.pem, because TLS_KEY is set",
    ),
    ["TLS_CERT"],
  ),
  v.transform(({ TLS_CERT: cert, TLS_KEY: key, ...env }) => ({
    hostname: env.HOST,
    port: env.PORT,
    drainDelay: env.DRAIN_DELAY_MS,
    idleGrace: env.IDLE_GRACE_MS,
    drainTimeout: env.DRAIN_TIMEOUT_MS,
    cleanupTimeout: env.CLEANUP_TIMEOUT_MS,
    requestTimeout: env.REQUEST_TIMEOUT_MS,
    logFormat: env.LOG_FORMAT,
    logLevel: env.LOG_LEVEL,
    adminPort: env.ADMIN_PORT,
    adminHostname: env.ADMIN_HOST,
    demo: env.DEMO,
    corsOrigins: env.CORS_ORIGINS ?? [],
    reusePort: env.REUSE_PORT,
    databaseUrl: env.DATABASE_URL, // example:line
    databaseConnectTimeout: env.DATABASE_CONNECT_TIMEOUT_MS, // example:line
    ...(cert && key ? { tls: { cert, key } } : {}),
  })),
);

/** What the app can be told. */
export type Config = v.InferOutput<typeof schema>;

export function readConfig(env: Environment): ConfigResult<Config> {
  return readEnvironment(schema, env);
}

/** What `--print-config` prints. */
export function listConfig(env: Environment): string {
  return listEnvironment(schema, env);
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}
