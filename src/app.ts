import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId, type RequestIdVariables } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { timeout } from "hono/timeout";
import type { Config } from "./config.ts";
import { allowOrigins } from "./kit/cors.ts";
import type { Metrics } from "./kit/metrics.ts";
import { pause } from "./kit/pause.ts";
import { answerError, answerMethod, answerNotFound } from "./kit/problem.ts";
import { logRequest, observeRequests } from "./kit/requests.ts";
import {
  bodyLimit,
  type Checks,
  eventStream,
  health,
  type ShutdownController,
} from "#lastcall";

/** The bytes of a request body. */
const BODY_LIMIT = 1_048_576;
/** The longest that `/slow` can be asked to take. */
const SLOWEST_MS = 60_000;

export interface AppOptions {
  config: Pick<Config, "corsOrigins" | "demo" | "requestTimeout" | "tls">;
  shutdown: ShutdownController;
  checks: Checks;
  metrics: Metrics;
}

export type App = Hono<{ Variables: RequestIdVariables }>;

/** The app: its middleware and its routes. */
export function createApp(
  { config, shutdown, checks, metrics }: AppOptions,
): App {
  const app: App = new Hono();
  app.onError(answerError);
  app.notFound(answerNotFound);

  // /livez and /readyz, for whoever watches over the process. Before all
  // middleware, so that their being asked every second is not in the log.
  app.route("/", health(shutdown, { checks }));

  app.use(requestId());
  app.use(observeRequests(logRequest, metrics.count));
  app.use(secureHeaders({
    // Only who ends TLS knows that there is no way back to plain HTTP.
    strictTransportSecurity: config.tls ? "max-age=15552000" : false,
    // For browsers that are gone; each header costs every answer its share.
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
  }));
  if (config.corsOrigins.length > 0) app.use(allowOrigins(config.corsOrigins));
  app.use(methodNotAllowed({ app, onMethodNotAllowed: answerMethod }));
  // Until the answer begins: an event stream may go on for as long as it likes.
  if (config.requestTimeout > 0) app.use(timeout(config.requestTimeout));
  // A route that takes more says so by a limit of its own.
  app.use(bodyLimit(BODY_LIMIT));

  app.get("/", (c) => c.text("Hello from lastcall!\n"));

  // A handler that takes its time needs to know nothing of a shutdown: it is
  // waited for. Try `curl localhost:3000/slow?ms=5000` and Ctrl-C meanwhile. Not
  // in production: anybody could hold each deploy to its deadline.
  if (config.demo) {
    app.get("/slow", async (c) => {
      const wish = Number(c.req.query("ms") ?? 1000);
      const ms = Math.min(Math.max(0, wish || 0), SLOWEST_MS);
      await new Promise((resolve) => setTimeout(resolve, ms));
      return c.text(`That took ${ms} ms.\n`);
    });
  }

  // A handler that would never end by itself listens to `shutdown.signal`; for
  // an event stream, `eventStream` does it.
  app.get(
    "/events",
    (c) =>
      eventStream(c, shutdown.signal, async (stream, over) => {
        while (!over.aborted) {
          await stream.writeSSE({
            event: "tick",
            data: new Date().toISOString(),
          });
          await pause(1000, over);
        }
      }, { onError: (error) => void answerError(error, c) }),
  );

  return app;
}
