import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit as refuseAbove } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import { matchedRoutes } from "hono/route";
import { findTargetHandler } from "hono/utils/handler";

const limits = new Set<unknown>();

/**
 * Hono's own limit of a request body, in bytes, with two additions: the answer is
 * a problem (RFC 9457), and where several apply, the last one counts: so a route
 * may allow itself more than the app does.
 */
export function bodyLimit(maxSize: number): MiddlewareHandler {
  const check = refuseAbove({
    maxSize,
    onError() {
      throw tooLarge(maxSize);
    },
  });
  const limit: MiddlewareHandler = (c, next) =>
    // Most requests are a GET, and should not pay for the question.
    c.req.method !== "GET" && lastLimit(c) === limit ? check(c, next) : next();
  limits.add(limit);
  return limit;
}

function lastLimit(c: Context): unknown {
  // An app with an error handler of its own wraps its handlers when mounted.
  const handlers = matchedRoutes(c).map(({ handler }) =>
    findTargetHandler(handler)
  );
  return handlers.reverse().find((handler) => limits.has(handler));
}

function tooLarge(maxSize: number): HTTPException {
  const status = 413;
  const detail = `The request body may have up to ${maxSize} bytes.`;
  const body = { type: "about:blank", title: "Content Too Large", status };
  const headers = { "Content-Type": "application/problem+json" };
  const res = Response.json({ ...body, detail }, { status, headers });
  return new HTTPException(status, { message: detail, res });
}
