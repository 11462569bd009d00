/**
 * The environment, read once. These are the app's only defaults and its only
 * validation: whoever gets a `Config` need not check it again.
 *
 * @module
 */
import * as v from "valibot";
import { variables as bookmarks } from "./bookmarks/variables.ts"; // example:line
import {
  type ConfigResult,
  type Environment,
  listEnvironment,
  readEnvironment,
} from "./kit/environment.ts";
import { flag, host, list, port, secret, time } from "./kit/variables.ts";
import { isProxy } from "#lastcall";

const path = v.string();

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
      list(
        (one) => one === "*" || isOrigin(one),
        "origins separated by commas, such as https://app.example, or *",
      ),
    ),
    TRUSTED_PROXIES: v.optional(
      list(
        isProxy,
        "addresses or ranges separated by commas, such as 10.1.0.0/16, or " +
          "loopback or private",
      ),
    ),
    TLS_CERT: v.optional(path),
    // A path; but who puts the key itself here must not find it in a log.
    TLS_KEY: secret(v.optional(path)),
    REUSE_PORT: v.optional(flag, "false"),
    ...bookmarks, // example:line
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
  v.transform(
    ({
      HOST: hostname,
      PORT: port,
      DRAIN_DELAY_MS: drainDelay,
      IDLE_GRACE_MS: idleGrace,
      DRAIN_TIMEOUT_MS: drainTimeout,
      CLEANUP_TIMEOUT_MS: cleanupTimeout,
      REQUEST_TIMEOUT_MS: requestTimeout,
      LOG_FORMAT: logFormat,
      LOG_LEVEL: logLevel,
      ADMIN_PORT: adminPort,
      ADMIN_HOST: adminHostname,
      DEMO: demo,
      CORS_ORIGINS: corsOrigins = [],
      TRUSTED_PROXIES: trustedProxies = [],
      TLS_CERT: cert,
      TLS_KEY: key,
      REUSE_PORT: reusePort,
      // Yours, and those of a feature, keep their names.
      ...others
    }) => ({
      ...others,
      hostname,
      port,
      drainDelay,
      idleGrace,
      drainTimeout,
      cleanupTimeout,
      requestTimeout,
      logFormat,
      logLevel,
      adminPort,
      adminHostname,
      demo,
      corsOrigins,
      trustedProxies,
      reusePort,
      ...(cert && key ? { tls: { cert, key } } : {}),
    }),
  ),
);

/** For messages: which variable sets what of the server's settings. */
export const serverVariables = {
  hostname: "HOST",
  port: "PORT",
  "tls.cert": "TLS_CERT",
  "tls.key": "TLS_KEY",
};

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
