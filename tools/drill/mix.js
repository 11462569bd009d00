import { Buffer } from "node:buffer";

/**
 * What is asked for, and how often: "GET / 80, POST /x 20".
 *
 * @typedef {object} Route
 * @property {string} method
 * @property {string} path
 * @property {number} weight
 */

/** What a request with a body brings. */
const BODY = '{"drill":true}';
const WITH_BODY = ["POST", "PUT", "PATCH"];

/**
 * @param {string} text
 * @returns {{ ok: true, routes: Route[] } | { ok: false, why: string }}
 */
export function parseMix(text) {
  /** @type {Route[]} */
  const routes = [];
  for (const part of text.split(",")) {
    const [, method, path, weight = "1"] =
      /^\s*([A-Z]+)\s+(\/\S*)(?:\s+(\d+))?\s*$/.exec(part) ?? [];
    if (!method || !path || Number(weight) < 1) {
      return { ok: false, why: `has ${JSON.stringify(part.trim())} in it` };
    }
    if (!/^[!-"$-~]+$/.test(path)) {
      const why = `has the path ${JSON.stringify(path)} in it, and a path is ` +
        "of printable ASCII, without #";
      return { ok: false, why };
    }
    if (method === "CONNECT") {
      return { ok: false, why: "asks for CONNECT, which is for proxies" };
    }
    routes.push({ method, path, weight: Number(weight) });
  }
  return { ok: true, routes };
}

/**
 * The routes in turn, each as often as its weight says and evenly spread, so
 * that two drills send the same. Yields indexes, without end.
 *
 * @param {Route[]} routes
 */
export function* inTurn(routes) {
  const total = routes.reduce((sum, { weight }) => sum + weight, 0);
  const credit = routes.map(() => 0);
  for (;;) {
    let next = 0;
    for (const [i, { weight }] of routes.entries()) {
      credit[i] = (credit[i] ?? 0) + weight;
      if ((credit[i] ?? 0) > (credit[next] ?? 0)) next = i;
    }
    credit[next] = (credit[next] ?? 0) - total;
    yield next;
  }
}

/**
 * @param {Route} route
 * @param {string} host
 * @param {[name: string, value: string][]} [headers]
 * @param {Uint8Array} [body]
 */
export function requestBytes({ method, path }, host, headers = [], body) {
  /** @type {[string, string][]} */
  const lines = [
    ["Host", host],
    ["User-Agent", "lastcall-drill"],
    ["Accept", "*/*"],
  ];
  const brings = WITH_BODY.includes(method)
    ? body ?? new TextEncoder().encode(BODY)
    : undefined;
  if (brings) lines.push(["Content-Type", "application/json"]);
  const own = new Set(headers.map(([name]) => name.toLowerCase()));
  const all = [
    ...lines.filter(([name]) => !own.has(name.toLowerCase())),
    ...headers,
    ...brings ? [["Content-Length", String(brings.length)]] : [],
  ];
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...all.map(([name, value]) => `${name}: ${value}`),
  ];
  return Buffer.concat([
    Buffer.from(head.join("\r\n") + "\r\n\r\n", "latin1"),
    brings ?? new Uint8Array(),
  ]);
}
