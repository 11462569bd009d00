/** The app with a route that reads its body itself, and one that asks another. */
import * as runtime from "#runtime";
import { createApp } from "../../src/app.ts";
import { readConfig } from "../../src/config.ts";
import { openLog } from "../../src/kit/logging.ts";
import { Metrics } from "../../src/kit/metrics.ts";
import { Checks, run, serve, ShutdownController } from "#lastcall";

const { log } = openLog({
  level: "info",
  pretty: false,
  colors: false,
  print: runtime.stdout.write,
});
const shutdown = new ShutdownController({ log });
const checks = new Checks(shutdown);
const result = readConfig(() => undefined);
if (!result.ok) throw new Error(result.problems.join("\n"));
const { config } = result;

const report = await run(shutdown, async () => {
  const metrics = new Metrics();
  const app = createApp({ config, shutdown, checks, metrics });
  app.get("/counted", (c) => c.text(metrics.render([])));
  app.post("/read", async (c) => {
    log({ level: "info", message: "reading" });
    return c.text(await c.req.text());
  });
  app.post("/broken", async (c) => {
    log({ level: "info", message: "reading" });
    // Whatever the client does meanwhile, this is no fault of his.
    await c.req.text().catch(() => {});
    throw new Error("really broken");
  });
  app.get("/heeds", async (c) => {
    const { signal } = c.req.raw;
    const left = new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => resolve())
    );
    log({ level: "info", message: "reading" });
    await left;
    signal.throwIfAborted();
    return c.text("not reached");
  });
  await serve(app, { hostname: "127.0.0.1", port: 0, shutdown });
});
await runtime.exit(report.exitCode);
