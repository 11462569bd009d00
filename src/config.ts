/**
 * The environment, read once. These are the app's only defaults and its only
 * validation: whoever gets a `Config` need not check it again.
 *
 * @module
 */

import { DATABASE_URL_EXPECTED, isDatabaseUrl } from "./bookmarks/mod.ts"; // example

/** What the app can be told. Times are in milliseconds. */
export interface Config {
  /** `HOST`: the address to listen on. */
  hostname: string;
  /** `PORT`: 0 lets the system pick a free one. */
  port: number;
  /** `DRAIN_DELAY_MS`: serve on, readiness red, before the listener closes. */
  drainDelay: number;
  /** `IDLE_GRACE_MS`: a recently used connection may bring one more request. */
  idleGrace: number;
  /** `DRAIN_TIMEOUT_MS`: how long requests in flight may take to finish. */
  drainTimeout: number;
  /** `CLEANUP_TIMEOUT_MS`: how long jobs and close hooks may take, together. */
  cleanupTimeout: number;
  // example:begin
  /** `DATABASE_URL`: where bookmarks are kept. It may hold a password. */
  databaseUrl: string | undefined;
  /** `DATABASE_CONNECT_TIMEOUT_MS`: how long to try, from the start. */
  databaseConnectTimeout: number;
  // example:end
}

/** Either a config or, each in one sentence, everything that is wrong. */
export type ConfigResult =
  | { ok: true; config: Config }
  | { ok: false; problems: string[] };

/** Timers of every runtime wrap beyond this: about 24.8 days. */
const LONGEST_TIME = 2 ** 31 - 1;

/**
 * Reads the config from the environment. A variable that is set but empty
 * counts as not set: that is what `PORT=` in an env file, or an unfilled
 * `${PORT}` in a compose file, means to say.
 */
export function readConfig(
  env: (name: string) => string | undefined,
): ConfigResult {
  const problems: string[] = [];

  function wholeNumber(
    name: string,
    fallback: number,
    max: number,
    what = "a whole number",
  ): number {
    const text = env(name) || String(fallback);
    const value = /^[0-9]+$/.test(text) ? Number(text) : NaN;
    if (value <= max) return value;
    problems.push(
      `${name} is ${JSON.stringify(text)}; expected ${what} from 0 to ${max}.`,
    );
    return fallback;
  }

  function milliseconds(name: string, fallback: number): number {
    return wholeNumber(
      name,
      fallback,
      LONGEST_TIME,
      "a whole number of milliseconds",
    );
  }

  function host(name: string, fallback: string): string {
    const text = env(name) || fallback;
    if (!/[\s/]/.test(text)) return text;
    problems.push(
      `${name} is ${
        JSON.stringify(text)
      }; expected a host name or an IP address alone, such as 127.0.0.1.`,
    );
    return fallback;
  }

  // example:begin
  function database(name: string): string | undefined {
    const text = env(name) || undefined;
    if (text !== undefined && !isDatabaseUrl(text)) {
      // It may hold a password.
      problems.push(
        `${name} is a value of ${text.length} characters; ` +
          `expected ${DATABASE_URL_EXPECTED}.`,
      );
    }
    return text;
  }
  // example:end

  const config: Config = {
    port: wholeNumber("PORT", 3000, 65_535),
    hostname: host("HOST", "0.0.0.0"),
    drainDelay: milliseconds("DRAIN_DELAY_MS", 0),
    idleGrace: milliseconds("IDLE_GRACE_MS", 250),
    drainTimeout: milliseconds("DRAIN_TIMEOUT_MS", 10_000),
    cleanupTimeout: milliseconds("CLEANUP_TIMEOUT_MS", 5_000),
    // example:begin
    databaseUrl: database("DATABASE_URL"),
    databaseConnectTimeout: milliseconds("DATABASE_CONNECT_TIMEOUT_MS", 30_000),
    // example:end
  };
  return problems.length === 0 ? { ok: true, config } : { ok: false, problems };
}
