/**
 * The admin server beside an app whose last hook waits for SIGUSR2, so that a
 * test can look around while it does.
 */
import process from "node:process";
import * as runtime from "#runtime";
import { serveAdmin } from "../../src/kit/admin.ts";
import { openLog } from "../../src/kit/logging.ts";
import { Metrics } from "../../src/kit/metrics.ts";
import { Checks, run, serve, ShutdownController } from "#lastcall";

const { write: print } = runtime.stdout;
const { log } = openLog({ level: "info", pretty: false, colors: false, print });
const shutdown = new ShutdownController({ log });
const checks = new Checks(shutdown);
const metrics = new Metrics();
const adminHostname = "127.0.0.1";

const report = await run(shutdown, async () => {
  const { eventLoopDelay } = runtime;
  const config = { adminHostname, adminPort: 0 };
  await serveAdmin({ config, shutdown, checks, metrics, eventLoopDelay });
  shutdown.onClose("held", () => {
    const told = new Promise<void>((resolve) =>
      process.once("SIGUSR2", () => resolve())
    );
    log({ level: "info", message: "hook waits" });
    return told;
  });
  checks.add("database", () => {
    throw new Error("no route to host");
  });
  const app = { fetch: () => new Response("hello") };
  await serve(app, { hostname: adminHostname, port: 0, shutdown });
});
await runtime.exit(report.exitCode);
