import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";

/** Lets the pages of these origins call us from a browser; "*" is every page. */
export function allowOrigins(origins: string[]): MiddlewareHandler {
  const allow = cors({
    origin: origins.includes("*") ? "*" : origins,
    exposeHeaders: ["X-Request-Id"],
  });
  // It answers every OPTIONS, and those that are no preflight want an Allow.
  return (c, next) =>
    c.req.method === "OPTIONS" && !c.req.header("Access-Control-Request-Method")
      ? next()
      : allow(c, next);
}
