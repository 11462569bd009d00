import { Buffer } from "node:buffer";
import type { Context } from "hono";

/**
 * Runtimes add a Content-Length when all is over and tell nobody. What is known
 * of a body is known where Hono is given it, so this listens there. Returns how
 * many bytes the answer has, once there is one: undefined for a stream, for JSX,
 * and for what a middleware put in its place.
 */
export function watchBodyLength(c: Context): () => number | undefined {
  let made: Response | undefined;
  let length: number | undefined;
  const { newResponse, body, text, html } = c;
  const noting = <T, Rest extends unknown[], Result>(
    make: (data: T, ...rest: Rest) => Result,
  ) =>
  (data: T, ...rest: Rest): Result => {
    const result = make(data, ...rest);
    if (result instanceof Response) {
      made = result;
      length = lengthOf(data);
    }
    return result;
  };
  c.newResponse = noting(newResponse) as typeof newResponse;
  c.body = noting(body) as typeof body;
  c.text = noting(text) as typeof text;
  c.html = noting(html) as typeof html;
  // As Hono's own does it, whose text nobody else sees.
  c.json =
    ((data: unknown, arg?: never, headers?: object) =>
      c.body(JSON.stringify(data), arg, {
        "Content-Type": "application/json",
        ...headers,
      })) as unknown as typeof c.json;
  return () => {
    if (made === undefined) return undefined;
    // Hono makes a new response around the same body where headers came first
    // (as with CORS); Deno makes a new body too, and the length is lost.
    return made === c.res || made.body === c.res.body ? length : undefined;
  };
}

function lengthOf(data: unknown): number | undefined {
  if (data === null || data === undefined) return 0;
  if (typeof data === "string") return Buffer.byteLength(data);
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) {
    return data.byteLength;
  }
  return undefined;
}
