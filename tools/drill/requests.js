// `--requests FILE`: what to ask for, each request with headers and a body of its
// own, or what a browser has recorded (HAR, "Save all as HAR").

import { readFileSync } from "node:fs";
import { headerFault, isOwnHeader, pathFault } from "./mix.js";

/** @import { Route } from "./mix.js" */

/** Each request sends all of it: a drill is no upload. */
export const LARGEST_BODY = 16 * 1024 * 1024;

/**
 * @param {string} file
 * @returns {{ ok: true, routes: Route[] } | { ok: false, why: string }}
 */
export function readRequests(file) {
  let json;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    return { ok: false, why: `cannot be read: ${message}` };
  }
  const entries = json?.log?.entries;
  const list = Array.isArray(entries) ? entries.map(recorded) : json;
  if (!Array.isArray(list) || list.length === 0) {
    return { ok: false, why: "has no requests; expected a list, or a HAR" };
  }
  /** @type {Map<string, Route>} */
  const routes = new Map();
  for (const [i, one] of list.entries()) {
    const read = routeOf(one);
    if (typeof read === "string") {
      return { ok: false, why: `has a request (number ${i + 1}) ${read}` };
    }
    // What is asked for twice is asked for twice as often.
    const key = JSON.stringify({ ...read, weight: 0 });
    const same = routes.get(key);
    if (same) same.weight += read.weight;
    else routes.set(key, read);
  }
  return { ok: true, routes: [...routes.values()] };
}

/** @param {any} one @returns {Route | string} or what is wrong with it */
function routeOf(one) {
  const { method = "GET", path, weight = 1, headers = {}, body, ...rest } =
    one ?? {};
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) {
    return `with ${JSON.stringify(unknown)}; expected method, path, weight, ` +
      "headers and body";
  }
  if (typeof method !== "string" || !/^[A-Z]+$/.test(method)) {
    return `with the method ${
      JSON.stringify(method)
    }; expected one such as "POST"`;
  }
  if (method === "CONNECT") {
    return "that asks for CONNECT, which is for proxies";
  }
  if (typeof path !== "string" || !path.startsWith("/")) {
    return `with the path ${
      JSON.stringify(path)
    }; expected one such as "/orders"`;
  }
  if (pathFault(path)) return `that ${pathFault(path)}`;
  if (!Number.isInteger(weight) || weight < 1) {
    return `with the weight ${JSON.stringify(weight)}; expected a whole number`;
  }
  /** @type {[string, string][]} */
  const pairs = [];
  for (const [name, value] of Object.entries(headers)) {
    const fault = headerFault(`${name}: ${value}`);
    if (fault) return `whose header ${fault}`;
    pairs.push([name, String(value)]);
  }
  if (body !== undefined && typeof body !== "string") {
    return "whose body is no text";
  }
  if (body && body.length > LARGEST_BODY) {
    return `whose body has more than ${LARGEST_BODY} bytes`;
  }
  return { method, path, weight, headers: pairs, ...body && { body } };
}

/** A HAR has what the browser added, too. @param {any} entry */
function recorded({ request } = {}) {
  const { method, url = "", headers = [], postData } = request ?? {};
  const { pathname, search } = URL.canParse(url)
    ? new URL(url)
    : { pathname: url, search: "" };
  const own = headers.filter((/** @type {{ name: string }} */ { name }) =>
    !name.startsWith(":") && !isOwnHeader(name)
  ).map((/** @type {{ name: string, value: string }} */ { name, value }) => [
    name,
    value,
  ]);
  return {
    method,
    path: `${pathname}${search}`,
    headers: Object.fromEntries(own),
    ...postData?.text && { body: postData.text },
  };
}
