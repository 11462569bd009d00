/** A WebSocket behind everything that `createApp` puts before a route. */
import * as runtime from "#runtime";
import { createApp } from "../../src/app.ts";
import { openLog } from "../../src/kit/logging.ts";
import { Metrics } from "../../src/kit/metrics.ts";
import {
  Checks,
  run,
  serve,
  ShutdownController,
  upgradeWebSocket,
} from "#lastcall";

const { write: print } = runtime.stdout;
const { log } = openLog({ level: "info", pretty: false, colors: false, print });
const shutdown = new ShutdownController({ log });
const app = createApp({
  config: {
    demo: false,
    corsOrigins: ["https://a.example"],
    trustedProxies: [],
    requestTimeout: 1000,
    tls: { cert: "not", key: "used" },
  },
  shutdown,
  checks: new Checks(shutdown),
  metrics: new Metrics(),
});
app.get(
  "/ws",
  upgradeWebSocket(() => ({
    onMessage: ({ data }, socket) => socket.send(`You said ${data}`),
  })),
);

const report = await run(shutdown, async () => {
  await serve(app, { hostname: "127.0.0.1", port: 0, shutdown });
});
await runtime.exit(report.exitCode);
