import type { Context, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { matchedRoutes } from "hono/route";
import { findTargetHandler } from "hono/utils/handler";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { LONGEST_TURN } from "../runtimes/times.ts";

/** So many bytes beyond a limit are read and thrown away before the refusal. */
const HEARD_OUT = 16 * 1_048_576;

/** nginx's "client closed request": nobody reads it but logs and metrics. */
const CLIENT_LEFT = 499 as ContentfulStatusCode;

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
  // Only reading tells.
  const body = await readUpTo(maxSize, request.body).catch(abandoned);
  if (body === undefined) throw tooLarge(maxSize);
  c.req.raw = new Request(request, { body });
}

/**
 * The body, or undefined if it is longer than `maxSize`. It is copied into one
 * buffer: kept as it came, a chunk of one byte holds up to 64 KB (600 KB of such
 * chunks on the wire took 4.6 GB on Deno).
 *
 * Most clients that send too much are heard out before the refusal: in its last
 * moments Bun closes the connection behind the answer, and what still comes in
 * resets it.
 */
async function readUpTo(
  maxSize: number,
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const reader = readerOf(stream);
  const letOthers = turns();
  let kept = new Uint8Array(0);
  let size = 0;
  for (let chunk; (chunk = await reader.next());) {
    const end = size + chunk.length;
    if (end > maxSize + HEARD_OUT) {
      reader.cancel();
      return undefined;
    }
    if (end <= maxSize) {
      if (end > kept.length) {
        const wider = new Uint8Array(
          Math.min(maxSize, Math.max(2 * kept.length, end)),
        );
        wider.set(kept);
        kept = wider;
      }
      kept.set(chunk, size);
    }
    size = end;
    await letOthers();
  }
  return size > maxSize ? undefined : kept.subarray(0, size);
}

/**
 * Deno makes a new buffer of 64 KB for each chunk, unless it is handed one: a
 * million one-byte chunks then take 20 MB in place of gigabytes. Only Deno's
 * request bodies can be read so.
 */
function readerOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
  let byob: ReadableStreamBYOBReader;
  try {
    byob = stream.getReader({ mode: "byob" });
  } catch {
    const reader = stream.getReader();
    return {
      next: async () => (await reader.read()).value,
      cancel: () => void reader.cancel().catch(() => {}),
    };
  }
  let buffer = new ArrayBuffer(65_536);
  return {
    async next() {
      const { value } = await byob.read(new Uint8Array(buffer));
      // Undefined after a cancel, empty at the end.
      if (!value?.length) return undefined;
      buffer = value.buffer;
      return value;
    },
    cancel: () => void byob.cancel().catch(() => {}),
  };
}

/**
 * To be awaited after each chunk: while there are more at hand no timer fires,
 * and nobody else is served. A million held Bun for 0.5 s, and Deno, which looks
 * at its sockets after some thousand of them, for up to 13 s. Where a timer fires
 * meanwhile, nothing is waited for.
 */
function turns(): () => Promise<void> | undefined {
  let chunks = 0;
  let since: number | undefined;
  return () => {
    if (++chunks % 256 !== 0) return undefined;
    const now = performance.now();
    if (since === undefined) {
      since = now;
      setTimeout(() => since = undefined);
    } else if (now - since > LONGEST_TURN) {
      return new Promise((resolve) => setTimeout(resolve));
    }
  };
}

/** A body that breaks off is its sender's doing, and no error of ours. */
function abandoned(cause: unknown): never {
  const message = "The request body did not arrive whole.";
  throw new HTTPException(CLIENT_LEFT, { message, cause });
}

function tooLarge(maxSize: number): HTTPException {
  const status = 413;
  const detail = `The request body may have up to ${maxSize} bytes.`;
  const body = { type: "about:blank", title: "Content Too Large", status };
  const headers = { "Content-Type": "application/problem+json" };
  const res = Response.json({ ...body, detail }, { status, headers });
  return new HTTPException(status, { message: detail, res });
}
