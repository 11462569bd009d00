import { Buffer } from "node:buffer";

/**
 * What is asked for, and how often: "GET / 80, POST /x 20".
 *
 * @typedef {object} Route
 * @property {string} method
 * @property {string} path
 * @property {number} weight
 * @property {[name: string, value: string][]} [headers] of this one alone
 * @property {string} [body]
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
    const fault = pathFault(path);
    if (fault) return { ok: false, why: fault };
    if (method === "CONNECT") {
      return { ok: false, why: "asks for CONNECT, which is for proxies" };
    }
    routes.push({ method, path, weight: Number(weight) });
  }
  return { ok: true, routes };
}

/** @param {string} path */
export function pathFault(path) {
  if (/^[!-"$-~]+$/.test(path)) return undefined;
  return `has the path ${JSON.stringify(path)} in it, and a path is of ` +
    "printable ASCII, without #";
}

/** What says where a request ends, and to whom it goes, is the drill's own. */
const OWN_HEADERS =
  /^(connection|content-length|expect|host|te|trailer|transfer-encoding|upgrade)$/i;

/** @param {string} name */
export const isOwnHeader = (name) => OWN_HEADERS.test(name);

const HEADER = /^([!#$%&'*+.^`|~\w-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

/** What is wrong with "Name: value". @param {string} line */
export function headerFault(line) {
  const [, name] = HEADER.exec(line) ?? [];
  if (!name) {
    return `is ${JSON.stringify(line)}; expected a name and a value on one ` +
      'line, such as "Authorization: Bearer x"';
  }
  if (isOwnHeader(name)) return `is ${name}, which the drill sets itself`;
}

/** @param {string} line without a fault @returns {[string, string]} */
export function headerOf(line) {
  const [, name = "", value = ""] = HEADER.exec(line) ?? [];
  return [name, value.trimEnd()];
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
export function requestBytes(route, host, headers = [], body) {
  const { method, path } = route;
  /** @type {[string, string][]} */
  const lines = [
    ["Host", host],
    ["User-Agent", "lastcall-drill"],
    ["Accept", "*/*"],
  ];
  const brings = route.body !== undefined
    ? new TextEncoder().encode(route.body)
    : WITH_BODY.includes(method)
    ? body ?? new TextEncoder().encode(BODY)
    : undefined;
  if (brings) lines.push(["Content-Type", "application/json"]);
  const all = [
    ...without(lines, [...headers, ...route.headers ?? []]),
    ...without(headers, route.headers ?? []),
    ...route.headers ?? [],
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

/**
 * Those that no later one replaces.
 *
 * @param {[string, string][]} headers
 * @param {[string, string][]} later
 */
function without(headers, later) {
  const names = new Set(later.map(([name]) => name.toLowerCase()));
  return headers.filter(([name]) => !names.has(name.toLowerCase()));
}
