import type { Context, MiddlewareHandler } from "hono";
import type { RequestIdVariables } from "hono/request-id";
import { matchedRoutes } from "hono/route";
import { watchBodyLength } from "./body_length.ts";
import { withRequestId } from "./logging.ts";
import { answerError, answerHost } from "./problem.ts";
import { isWebSocket } from "#lastcall";

export interface ClientVariables {
  /** Of who sent the request; none where its connection is gone, or has none. */
  clientAddress: string | undefined;
}

/** One request and its answer, as far as the app knows. */
export interface Answered {
  requestId: string;
  client: string | undefined;
  method: string;
  /** The pattern of its route, as in "/orders/:id"; none where none matched. */
  route: string | undefined;
  path: string;
  status: number;
  /** Until the answer was ready; a stream goes on after that. */
  ms: number;
  /** Of the body, where that was at hand; nobody knows how long a stream gets. */
  bytes: number | undefined;
}

/** A name or an address, and perhaps a port. */
const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i;

/**
 * Tells each observer of every request, inside the context that puts the
 * request's id on each of its log lines, and refuses a Host that is none. One
 * middleware for all of them: each further one costs every request a promise.
 */
export function observeRequests(
  clientAddress: (c: Context) => string | undefined,
  ...observers: ((request: Answered) => void)[]
): MiddlewareHandler<{ Variables: RequestIdVariables & ClientVariables }> {
  const isGoodHost = hostCheck();
  return (c, next) =>
    withRequestId(c.get("requestId"), async () => {
      const began = performance.now();
      const client = clientAddress(c);
      c.set("clientAddress", client);
      const bodyLength = watchBodyLength(c);
      try {
        if (isGoodHost(c.req.header("host"))) await next();
        else c.res = answerHost(c);
      } catch (cause) {
        // Hono turns errors into answers, and lets whatever else was thrown by.
        c.res = answerError(new Error(String(cause), { cause }), c);
      }
      const { method, path } = c.req;
      const bytes = bodyLength();
      if (method === "HEAD") {
        // Deno and Bun would count the body that is not sent.
        if (bytes) c.res.headers.set("Content-Length", `${bytes}`);
        // Nobody will read it, and what goes on streaming it must learn that.
        c.res.body?.cancel().catch(() => {});
      }
      const request: Answered = {
        requestId: c.get("requestId"),
        client,
        method,
        route: routeOf(c),
        path,
        status: isWebSocket(c) ? 101 : c.res.status,
        ms: Math.round((performance.now() - began) * 100) / 100,
        bytes: method === "HEAD" ? 0 : bytes,
      };
      for (const observer of observers) observer(request);
    });
}

/**
 * The one that answered, or that would have, where a middleware did. Later ones
 * may match too; a middleware's pattern is no route.
 */
function routeOf(c: Context): string | undefined {
  return matchedRoutes(c).slice(c.req.routeIndex)
    .find(({ method, path }) => method !== "ALL" || !path.endsWith("*"))?.path;
}

/**
 * Tells whether a Host header says one thing, and one that a URL can have. Deno
 * makes whatever it says a part of the URL, so that one with a slash chooses the
 * path; Bun takes the first of two, and lets `new URL(c.req.url)` throw.
 */
function hostCheck(): (host: string | undefined) => boolean {
  // Nearly all requests bring the same one.
  let lastGood: string | undefined;
  return (host) => {
    // HTTP/2 has its authority in its place.
    if (host === undefined || host === lastGood) return true;
    if (!HOST.test(host) || !URL.canParse(`http://${host}`)) return false;
    lastGood = host;
    return true;
  };
}
