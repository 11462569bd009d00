import { Checks, ShutdownController } from "#lastcall";
import { FakeClock, FakeServer } from "#lastcall/testing";
import { type App, createApp } from "../src/app.ts";
import { type Config, readConfig } from "../src/config.ts";
import { type LoggingOptions, openLog } from "../src/kit/logging.ts";
import { Metrics } from "../src/kit/metrics.ts";

/** What the app cannot start without goes here, and what is nobody's own file. */
export const usual = {
  DEMO: "true",
  DATABASE_URL: "sqlite::memory:", // example:line
};

/** In an environment that has this, and what is usual. */
export function configOf(env: Record<string, string> = {}): Config {
  const all: Record<string, string> = { ...usual, ...env };
  const result = readConfig((name) => all[name]);
  if (!result.ok) throw new Error(result.problems.join("\n"));
  return result.config;
}

/** The app as `main.ts` makes it, with its demo; what it logs is kept. */
export function setup(
  env: Record<string, string> = {},
  logging: Partial<LoggingOptions> = {},
) {
  const lines: string[] = [];
  const { log, flush } = openLog({
    level: "info",
    pretty: false,
    colors: false,
    print: (line) => void lines.push(line),
    ...logging,
  });
  const config = configOf(env);
  const clock = new FakeClock();
  const shutdown = new ShutdownController({ log }, clock);
  const server = new FakeServer();
  shutdown.attach(server, server.sockets);
  const checks = new Checks(shutdown);
  const metrics = new Metrics();
  const app: App = createApp({ config, shutdown, checks, metrics });
  /** The JSON lines of this logger, or of all. */
  const logged = (logger?: string) =>
    (flush(), lines).flatMap((text) => text.split("\n")).map((line) =>
      JSON.parse(line) as Record<string, unknown>
    )
      .filter((line) => logger === undefined || line.logger === logger);
  return {
    app,
    checks,
    clock,
    config,
    flush,
    lines,
    logged,
    metrics,
    server,
    shutdown,
  };
}
