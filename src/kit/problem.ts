import { getLogger } from "@logtape/logtape";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";

export interface FieldProblem {
  field: string;
  message: string;
}

interface Extra {
  errors?: FieldProblem[];
  headers?: Record<string, string>;
}

/** Thrown by a handler, it is the answer: RFC 9457's problem+json. */
export class Problem extends Error {
  override name = "Problem";
  constructor(
    readonly status: ContentfulStatusCode,
    detail: string,
    readonly extra: Extra = {},
  ) {
    super(detail);
  }
}

/** For `app.onError`. What we did not mean to say goes to the log alone. */
export function answerError(error: Error, c: Context): Response {
  if (error instanceof Problem) {
    return answer(c, error.status, error.message, error.extra);
  }
  if (error instanceof HTTPException && error.status < 500) {
    const status = error.status as ContentfulStatusCode;
    return answer(c, status, error.message, { headers: headersOf(error) });
  }
  if (isClientsDoing(error, c)) {
    return answer(c, 499 as ContentfulStatusCode, "The client has left.");
  }
  const { message, stack, cause } = error;
  getLogger("app").error("request failed", {
    method: c.req.method,
    path: c.req.path,
    error: message,
    ...(cause === undefined ? {} : { cause }),
    stack,
  });
  return error instanceof HTTPException
    ? answer(c, error.status as ContentfulStatusCode, "")
    : answer(c, 500, "The request failed; the log knows why, by requestId.");
}

/**
 * Whether the handler failed because its client has left, amid its upload or
 * while the handler heeded `c.req.raw.signal`. That the client has left is not
 * enough: it may have lost patience with what is really broken.
 */
function isClientsDoing(error: Error & { code?: unknown }, c: Context) {
  const { name, code, message, cause } = error;
  // Deno's body breaks off so, and its signal may not have aborted yet.
  if (name === "Http" || name === "BadResource") return /body/.test(message);
  const { aborted, reason } = c.req.raw.signal;
  return aborted &&
    // On Node the reason is a string, which is thrown as the cause of an Error.
    (error === reason || cause === reason || name === "AbortError" ||
      code === "ECONNRESET" && message === "aborted"); // Node's body
}

/** For `app.notFound`. */
export function answerNotFound(c: Context): Response {
  return answer(c, 404, "Nothing is at this path.");
}

/** For a Host header that is none, or two. */
export function answerHost(c: Context): Response {
  return answer(c, 400, "The Host header is no host, or there are two.");
}

/** For Hono's `methodNotAllowed`. */
export function answerMethod(c: Context, methods: string[]): Response {
  const headers = { Allow: [...methods, "OPTIONS"].join(", ") };
  if (c.req.method !== "OPTIONS") {
    return answer(c, 405, `This path answers ${headers.Allow}.`, { headers });
  }
  const empty = c.body(null, 204, headers);
  // Hono keeps the headers of the 404 that this takes the place of.
  empty.headers.delete("Content-Type");
  empty.headers.delete("Cache-Control");
  return empty;
}

function answer(
  c: Context,
  status: ContentfulStatusCode,
  detail: string,
  { errors, headers }: Extra = {},
): Response {
  const problem = {
    type: "about:blank",
    title: TITLES[status] ?? "Error",
    status,
    ...(detail ? { detail } : {}),
    instance: c.req.path,
    requestId: c.get("requestId"),
    errors,
  };
  return c.body(JSON.stringify(problem), status, {
    "Cache-Control": "no-store",
    ...headers,
    "Content-Type": "application/problem+json",
  });
}

/** What Hono's middlewares say in headers: how to log in, when to return. */
function headersOf({ res }: HTTPException): Record<string, string> {
  const headers = Object.fromEntries(res?.headers ?? []);
  delete headers["content-type"];
  delete headers["content-length"];
  return headers;
}

const TITLES: Record<number, string> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  412: "Precondition Failed",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  428: "Precondition Required",
  429: "Too Many Requests",
  499: "Client Closed Request",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};
