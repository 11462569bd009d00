import { Hono } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId, type RequestIdVariables } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import type { Config } from "./config.ts";
import { demo } from "./demo.ts";
import { allowOrigins } from "./kit/cors.ts";
import { logRequest } from "./kit/logging.ts";
import type { Metrics } from "./kit/metrics.ts";
import { answerError, answerMethod, answerNotFound } from "./kit/problem.ts";
import { type ClientVariables, observeRequests } from "./kit/requests.ts";
import { timeout } from "./kit/timeout.ts";
import {
  bodyLimit,
  type Checks,
  clientAddresses,
  health,
  type ShutdownController,
} from "#lastcall";

/** The bytes of a request body. */
const BODY_LIMIT = 1_048_576;

export interface AppOptions {
  config: Pick<
    Config,
    "corsOrigins" | "demo" | "requestTimeout" | "tls" | "trustedProxies"
  >;
  shutdown: ShutdownController;
  checks: Checks;
  metrics: Metrics;
}

export type App = Hono<{ Variables: RequestIdVariables & ClientVariables }>;

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
  const clientAddress = clientAddresses(config.trustedProxies);
  app.use(observeRequests(clientAddress, logRequest, metrics.count));
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

  app.route("/", demo({ config, shutdown }));

  return app;
}
