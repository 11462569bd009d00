/** The one door of the engine: everything an app needs comes from here. */

import type { Context } from "hono";
import * as runtime from "#runtime";
import {
  eventStream as eventStreamOf,
  type EventStreamOptions,
} from "./event_stream.ts";
import { clientAddresses as clientAddressesBy } from "./client_address.ts";
import type { Clock } from "./clock.ts";
import { jsonLogTo, type Log } from "./log.ts";
import { run as runOn, type RunOptions } from "./run.ts";
import {
  type App,
  serve as serveOn,
  type ServeOptions,
  type Server,
} from "./serve.ts";
import type { ShutdownReport } from "./report.ts";
import {
  ShutdownController as Controller,
  type ShutdownOptions,
} from "./shutdown.ts";

export type {
  Limits,
  Lost,
  Output,
  Setting,
  Tls,
} from "../runtimes/runtime.ts";
export { getConnInfo, isWebSocket, upgradeWebSocket } from "#runtime";
export { isProxy } from "./client_address.ts";
export { bodyLimit } from "./body_limit.ts";
export { LONGEST_WAIT } from "../runtimes/times.ts";
export type { EventStreamOptions } from "./event_stream.ts";
export {
  type CheckResult,
  Checks,
  health,
  type HealthOptions,
} from "./health.ts";
export { type Log, type LogEntry, lossOf } from "./log.ts";
export { defaultLimits, type ServeOptions, type Server } from "./serve.ts";
export type {
  CutRequest,
  Phase,
  ShutdownReport,
  WorkRecord,
} from "./report.ts";
export type { ShutdownOptions } from "./shutdown.ts";
export type { RunOptions } from "./run.ts";
export { StartError } from "./start_error.ts";
export { version } from "./version.ts";

/** JSON lines on stdout. */
export const jsonLog: Log = jsonLogTo(runtime.stdout);

/** The controller, with `jsonLog` where no other log is given. */
export class ShutdownController extends Controller {
  /** The clock is for tests; see `FakeClock`. */
  constructor(options: ShutdownOptions = {}, clock?: Clock) {
    super({ log: jsonLog, ...options }, clock);
  }
}

/** Server-sent events that end well; its errors go to `jsonLog` by default. */
export function eventStream(
  c: Context,
  shutdown: ShutdownController,
  send: Parameters<typeof eventStreamOf>[2],
  options: EventStreamOptions = {},
): Response {
  const onError = ({ message: error, stack }: Error) =>
    jsonLog({ level: "error", message: "event stream failed", error, stack });
  return eventStreamOf(c, shutdown, send, { onError, ...options });
}

/**
 * Tells the address of a request's client, through these proxies: addresses,
 * ranges, "loopback" or "private".
 */
export function clientAddresses(
  proxies: string[],
): (c: Context) => string | undefined {
  return clientAddressesBy(runtime.getConnInfo, proxies);
}

/**
 * Serves `app` on the runtime at hand. Resolves when the socket listens.
 *
 * ```ts
 * const shutdown = new ShutdownController();
 * const server = await serve(app, { port: 3000, shutdown });
 * ```
 */
export function serve(
  app: App,
  options: ServeOptions = {},
): Promise<Server> {
  return serveOn(runtime, app, options);
}

/** Runs `start` so that a signal may interrupt it; see `src/main.ts`. */
export function run(
  shutdown: ShutdownController,
  start: () => Promise<void>,
  options: RunOptions = {},
): Promise<ShutdownReport> {
  return runOn(runtime, shutdown, start, options);
}
