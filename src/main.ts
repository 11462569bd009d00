import * as runtime from "#runtime";
import { serveAdmin } from "./kit/admin.ts";
import { createApp } from "./app.ts";
import { bookmarks, openBookmarks } from "./bookmarks/mod.ts"; // example:line
import { listConfig, readConfig, serverVariables } from "./config.ts";
import { Console } from "./kit/console.ts";
import { openLog } from "./kit/logging.ts";
import { Metrics } from "./kit/metrics.ts";
import { naming } from "./kit/naming.ts";
import { Checks, run, serve, ShutdownController } from "#lastcall";

const HELP =
  `Serves the app. Every setting is a variable of the environment: see
.env.example. SIGTERM or Ctrl-C ends it, and loses no request.

  --print-config   what holds, and where it comes from`;

/** Everything that happens, in order. Returns the exit code. */
async function main(): Promise<number> {
  if (runtime.args().includes("--help")) {
    runtime.stdout.write(HELP);
    return 0;
  }
  const result = readConfig(runtime.env);
  const asked = runtime.args().includes("--print-config");
  if (asked) runtime.stdout.write(listConfig(runtime.env));
  if (!result.ok) {
    runtime.stderr.write(result.problems.join("\n"));
    return 78; // EX_CONFIG, as sysexits.h has it
  }
  if (asked) return 0;
  const { config } = result;
  const { hostname, port, tls, reusePort } = config;
  const { drainDelay, idleGrace, drainTimeout, cleanupTimeout } = config;
  const { logFormat, logLevel: level } = config;

  const pretty = logFormat === "pretty" ||
    logFormat === "auto" && runtime.isTerminal;
  const person = pretty && runtime.isTerminal
    ? new Console(runtime.stdout)
    : undefined;
  const { log } = openLog({
    level,
    pretty,
    colors: runtime.hasColors,
    print: person ? person.print : runtime.stdout.write,
  });
  const shutdown = new ShutdownController({
    drainDelay,
    idleGrace,
    drainTimeout,
    cleanupTimeout,
    log,
  });
  person?.follow(shutdown);
  const checks = new Checks(shutdown);
  const parts = { config, shutdown, checks, metrics: new Metrics() };

  const report = await run(shutdown, async () => {
    await serveAdmin({ ...parts, eventLoopDelay: runtime.eventLoopDelay });

    // Open what the app needs here, and say beside it how it closes and how to
    // see that it works. What was opened last is closed first, after the last
    // request:
    //
    //   const db = await openDatabase();
    //   shutdown.onClose("database", () => db.close());
    //   checks.add("database", (signal) => db.ping(signal));

    const app = createApp(parts);
    app.route("/bookmarks", bookmarks(await openBookmarks(parts))); // example:line
    const server = await serve(app, {
      hostname,
      port,
      tls,
      reusePort,
      shutdown,
    }).catch(naming(serverVariables));
    person?.greet(server, app);
  });
  return report.exitCode;
}

await runtime.exit(await main());
