import * as runtime from "#runtime";
import { run, serve, ShutdownController } from "#lastcall";
import { app, listening } from "./app.js";

const shutdown = new ShutdownController();
const report = await run(shutdown, async () => {
  const { port } = await serve(app, {
    hostname: "127.0.0.1",
    port: 0,
    shutdown,
  });
  listening(port);
});
await runtime.exit(report.exitCode);
