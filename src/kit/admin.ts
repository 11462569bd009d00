import { Hono } from "hono";
import { compress } from "hono/compress";
import { methodNotAllowed } from "hono/method-not-allowed";
import { readdirSync } from "node:fs";
import process from "node:process";
import type { Config } from "../config.ts";
import type { Metrics, Reading } from "./metrics.ts";
import { naming } from "./naming.ts";
import {
  answerError,
  answerMethod,
  answerNotFound,
  Problem,
} from "./problem.ts";
import { type Checks, health, serve, ShutdownController } from "#lastcall";

const startedAt = Date.now() / 1000 - process.uptime();

export interface AdminOptions {
  config: Pick<Config, "adminHostname" | "adminPort">;
  shutdown: ShutdownController;
  checks: Checks;
  metrics: Metrics;
  /** See `Runtime.eventLoopDelay`. */
  eventLoopDelay: () => number | undefined;
}

/** What operators see, and the public does not. */
export function createAdmin(
  { config, shutdown, checks, metrics, eventLoopDelay }: AdminOptions,
): Hono {
  const app = new Hono();
  app.onError(answerError);
  app.notFound(answerNotFound);
  app.use(async (c, next) => {
    if (!isKnown(c.req.header("Host"), config.adminHostname)) {
      throw new Problem(421, "This server is asked for by its address.");
    }
    await next();
  });
  app.use(methodNotAllowed({ app, onMethodNotAllowed: answerMethod }));
  app.route("/", health(shutdown, { checks, detail: true }));

  app.get("/metrics", compress(), (c) => {
    const delay = eventLoopDelay();
    const readings: Reading[] = [
      {
        name: "http_requests_in_flight",
        help: "Requests that are being served.",
        value: shutdown.inFlight,
      },
      {
        name: "websockets_open",
        help: "WebSockets that are open.",
        value: shutdown.openSockets,
      },
      {
        name: "server_phase",
        help: "1 for the phase that the server is in.",
        value: 1,
        labels: { phase: shutdown.phase },
      },
      {
        name: "event_loop_delay_seconds",
        help: "Mean delay of the event loop since the last scrape.",
        value: delay === undefined ? undefined : delay / 1000,
      },
      ...processReadings(),
    ];
    return c.text(metrics.render(readings), 200, {
      "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
    });
  });
  return app;
}

/** What Prometheus's own libraries tell of a process, under the same names. */
function processReadings(): Reading[] {
  const { user, system } = process.cpuUsage();
  return [
    {
      name: "process_cpu_seconds_total",
      help: "Time that the processors spent on this process.",
      type: "counter",
      value: (user + system) / 1e6,
    },
    {
      name: "process_resident_memory_bytes",
      help: "Memory that the process has.",
      value: process.memoryUsage.rss(),
    },
    {
      name: "process_start_time_seconds",
      help: "When the process started, in seconds since 1970.",
      value: startedAt,
    },
    {
      name: "process_open_fds",
      help: "Open file descriptors.",
      value: openDescriptors(),
    },
  ];
}

/** Linux alone tells, and Deno would ask a person whether we may look. */
function openDescriptors(): number | undefined {
  if (process.versions.deno !== undefined) return undefined;
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

/**
 * A page of a stranger's may give its own name our address, and then its script
 * reads what we answer (DNS rebinding). So we go by addresses, by our own name,
 * and by names without a dot, as containers have them: those no stranger owns.
 */
function isKnown(host: string | undefined, own: string): boolean {
  // Only a browser has to be kept out, and every browser says it.
  if (host === undefined) return true;
  const name = host.toLowerCase().replace(/:\d+$/, "");
  return name === own.toLowerCase() ||
    /^(\[[\da-f:.]+\]|[\d.]+|[\w-]+)$/.test(name);
}

/**
 * Serves them on ADMIN_PORT, where there is one, for as long as there is anything
 * to see. Call it before anything else is opened: what was opened first is closed
 * last.
 */
export async function serveAdmin(options: AdminOptions): Promise<void> {
  const { config: { adminHostname: hostname, adminPort: port }, shutdown } =
    options;
  if (port === undefined) return;
  // A controller of its own: the app's would close this port with the app's.
  const admin = new ShutdownController({
    idleGrace: 0,
    drainTimeout: 500,
    // There is one report, and it is not this one's.
    log: ({ level, message, ...fields }) =>
      shutdown.log({
        level: level === "info" && message !== "server listening"
          ? "debug"
          : level,
        message: `admin ${message}`,
        ...fields,
      }),
  });
  shutdown.onClose("admin server", () => admin.begin("the app has closed"));
  await serve(createAdmin(options), {
    hostname,
    port,
    shutdown: admin,
    signals: [],
  }).catch(naming({ hostname: "ADMIN_HOST", port: "ADMIN_PORT" }));
}
