/**
 * The template's app and its admin server, with more routes to attack: what an
 * app might have, and the template has not. As src/main.ts, but for those.
 */
import { Buffer } from "node:buffer";
import { pbkdf2Sync } from "node:crypto";
import * as runtime from "#runtime";
import { serveAdmin } from "../../src/kit/admin.ts";
import { createApp } from "../../src/app.ts";
import { readConfig } from "../../src/config.ts";
import { openLog } from "../../src/kit/logging.ts";
import { Metrics } from "../../src/kit/metrics.ts";
import {
  Checks,
  run,
  serve,
  ShutdownController,
  upgradeWebSocket,
} from "#lastcall";

const result = readConfig(runtime.env);
if (!result.ok) throw new Error(result.problems.join(" "));
const { config } = result;
const { hostname, port, tls } = config;
const { log } = openLog({
  level: "info",
  pretty: false,
  colors: false,
  print: runtime.stdout.write,
});
const shutdown = new ShutdownController({ ...config, log });
const checks = new Checks(shutdown);
const parts = { config, shutdown, checks, metrics: new Metrics() };

const report = await run(shutdown, async () => {
  await serveAdmin({ ...parts, eventLoopDelay: runtime.eventLoopDelay });
  const app = createApp(parts);

  app.get(
    "/ws",
    upgradeWebSocket(() => ({
      onMessage({ data }, socket) {
        // Bad JSON throws, as in many an app.
        if (String(data).startsWith("{")) JSON.parse(String(data));
        socket.send(data as string);
      },
    })),
  );
  // What Hono's own streamSSE sets among them.
  app.get("/hop", (c) => {
    const { name = "te" } = c.req.query();
    return c.text("hop", 200, {
      [name]: name === "te" ? "trailers" : "keep-alive",
    });
  });
  app.get("/big", (c) => {
    const piece = new Uint8Array(65_536);
    let left = 256; // 16 MB
    return c.body(
      new ReadableStream({
        pull(controller) {
          if (left-- === 0) controller.close();
          else controller.enqueue(piece);
        },
      }),
    );
  });
  // About 4 ms of work that lets nobody else in.
  app.post(
    "/hash",
    (c) =>
      c.text(
        Buffer.from(pbkdf2Sync("a", "b", 4_000, 32, "sha256"))
          .toString("hex"),
      ),
  );
  app.post(
    "/count",
    async (c) => c.text(String((await c.req.arrayBuffer()).byteLength)),
  );

  await serve(app, { hostname, port, tls, shutdown });
});
await runtime.exit(report.exitCode);
