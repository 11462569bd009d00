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
  let madeOf: unknown;
  const note = <Result>(result: Result, data: unknown): Result => {
    made = result as Response;
    madeOf = data;
    return result;
  };
  // Each by hand: with rest parameters it measured slower.
  const newResponse = c.newResponse as Make;
  const body = c.body as Make;
  const text = c.text as Make;
  const html = c.html as Make;
  const watched = c as unknown as Record<string, Make>;
  watched.newResponse = (data, arg, headers) =>
    note(newResponse(data, arg, headers), data);
  watched.body = (data, arg, headers) => note(body(data, arg, headers), data);
  watched.text = (data, arg, headers) => note(text(data, arg, headers), data);
  watched.html = (data, arg, headers) => note(html(data, arg, headers), data);
  // As Hono's own does it, whose text nobody else sees.
  watched.json = (data, arg, headers) => {
    const type = { "Content-Type": "application/json", ...headers };
    const json = JSON.stringify(data);
    return note(body(json, arg, type), json);
  };
  return () => {
    if (made === undefined) return undefined;
    // Hono makes a new response around the same body where headers came first
    // (as with CORS); Deno makes a new body too, and the length is lost.
    const isIt = made === c.res || made.body === c.res.body;
    return isIt ? lengthOf(madeOf) : undefined;
  };
}

type Make = (data: unknown, arg?: unknown, headers?: object) => unknown;

function lengthOf(data: unknown): number | undefined {
  if (data === null || data === undefined) return 0;
  if (typeof data === "string") return Buffer.byteLength(data);
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) {
    return data.byteLength;
  }
  return undefined;
}
