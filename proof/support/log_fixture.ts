/**
 * The app with its access lines, and with what it takes to look at it where its
 * stdout tells nothing: stderr has the port.
 */
import process from "node:process";
import * as runtime from "#runtime";
import { createApp } from "../../src/app.ts";
import { openLog } from "../../src/kit/logging.ts";
import { Metrics } from "../../src/kit/metrics.ts";
import { Checks, run, serve, ShutdownController } from "#lastcall";

const { stdout, stderr } = runtime;
const { log } = openLog({
  level: "info",
  pretty: false,
  colors: false,
  print: stdout.write,
});
const shutdown = new ShutdownController({ log, drainTimeout: 20_000 });
const app = createApp({
  config: {
    corsOrigins: [],
    demo: true,
    requestTimeout: 0,
    trustedProxies: [],
  },
  shutdown,
  checks: new Checks(shutdown),
  metrics: new Metrics(),
});
app.get("/throw-later", (c) => {
  setTimeout(() => {
    throw new Error("thrown later");
  }, 0);
  return c.text("watch out");
});
/** Says a lot on stderr. */
app.get("/complain", (c) => {
  for (let n = 0; n < 100; n++) stderr.write("complaint ".repeat(1000));
  return c.text("as you wish");
});

const tell = (event: object) => stderr.write(JSON.stringify(event));
shutdown.signal.addEventListener("abort", () => tell({ event: "aborted" }));
const report = await run(shutdown, async () => {
  const { port } = await serve(app, {
    hostname: "127.0.0.1",
    port: 0,
    shutdown,
  });
  tell({ event: "listening", port, pid: process.pid });
});
await runtime.exit(report.exitCode);
