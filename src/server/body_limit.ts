import type { Context, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { matchedRoutes } from "hono/route";
import { findTargetHandler } from "hono/utils/handler";

/** So many bytes beyond a limit are read and thrown away before the refusal. */
const HEARD_OUT = 16 * 1_048_576;

const limits = new Set<unknown>();

/**
 * Refuses a request body of more than `maxSize` bytes with a problem (RFC 9457).
 * Where several apply the last one counts: so a route may allow itself more than
 * the app does.
 *
 * Not Hono's own: that one leaves a body locked and half read, and then Deno
 * neither reads on nor closes: whoever sends all of it before reading waits for
 * ever, and never sees the refusal.
 */
export function bodyLimit(maxSize: number): MiddlewareHandler {
  const limit: MiddlewareHandler = async (c, next) => {
    // Most requests are a GET, and should not pay for the question.
    if (c.req.method !== "GET" && lastLimit(c) === limit) {
      await check(c, maxSize);
    }
    await next();
  };
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

async function check(c: Context, maxSize: number): Promise<void> {
  const request = c.req.raw;
  if (!request.body) return;
  const length = request.headers.get("Content-Length");
  if (length !== null) {
    if (Number(length) > maxSize) throw tooLarge(maxSize);
    return;
  }
  // Only reading tells. Whoever leaves this loop early cancels the body; most who
  // send too much are heard out first, for Bun, in its last moments, closes the
  // connection behind the answer, and what still comes in resets it.
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.length;
    if (size > maxSize + HEARD_OUT) break;
    if (size <= maxSize) chunks.push(chunk);
  }
  if (size > maxSize) throw tooLarge(maxSize);
  c.req.raw = new Request(request, { body: new Blob(chunks) });
}

function tooLarge(maxSize: number): HTTPException {
  const status = 413;
  const detail = `The request body may have up to ${maxSize} bytes.`;
  const body = { type: "about:blank", title: "Content Too Large", status };
  const headers = { "Content-Type": "application/problem+json" };
  const res = Response.json({ ...body, detail }, { status, headers });
  return new HTTPException(status, { message: detail, res });
}
