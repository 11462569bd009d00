import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";

export interface FieldProblem {
  field: string;
  message: string;
}

/** An answer that is no success, said by throwing it (RFC 9457). */
export class Problem extends Error {
  override name = "Problem";
  constructor(
    readonly status: ContentfulStatusCode,
    detail: string,
    readonly extra: {
      errors?: FieldProblem[];
      headers?: Record<string, string>;
    } = {},
  ) {
    super(detail);
  }
}

/** Stands in until the app shell's own is merged. */
export function answerError(error: Error, c: Context): Response {
  if (!(error instanceof Problem || error instanceof HTTPException)) {
    console.error(error);
  }
  const known = error instanceof Problem
    ? { status: error.status, detail: error.message, ...error.extra }
    : error instanceof HTTPException
    ? { status: error.status, detail: error.message }
    : { status: 500 as const, detail: "This should not have happened." };
  const { status, detail, errors, headers } = known as typeof known & {
    errors?: FieldProblem[];
    headers?: Record<string, string>;
  };
  return c.body(JSON.stringify({ status, detail, errors }), status, {
    ...headers,
    "Content-Type": "application/problem+json",
  });
}
