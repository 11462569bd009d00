import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import {
  defineWebSocketHelper,
  type UpgradeWebSocket,
  type WSContext,
  type WSEvents,
} from "hono/ws";
import type { Host } from "./runtime.ts";

export interface UpgradeOptions {
  /**
   * Which pages of other origins may open this WebSocket, as in
   * `["https://app.example"]`; "*" is every page. Default: none.
   */
  origins?: string[];
}

/** RFC 6455: the server met what it did not expect. */
const INTERNAL_ERROR = 1011;

/**
 * What a message that waits to be sent counts for beside its bytes. It costs more
 * (Node 200 bytes, Deno 700), but many small ones in one go are no crime.
 */
export const MESSAGE_COST = 128;

/**
 * Hono's `upgradeWebSocket`, with an eye on the origin. `upgrade` is called for
 * requests that ask for a WebSocket; where it returns nothing, the next handler
 * answers.
 */
export function defineUpgrade<T>(
  upgrade: (
    c: Context,
    events: WSEvents<T>,
  ) => Response | undefined | Promise<Response | undefined>,
): UpgradeWebSocket<T, UpgradeOptions> {
  const helper = defineWebSocketHelper<T, UpgradeOptions>((c, events) => {
    if (!isUpgrade(c)) return;
    const note = (response: Response | undefined) => {
      if (response && response.status < 400) upgraded.add(c.req.raw);
      return response;
    };
    const response = upgrade(c, events);
    return response instanceof Promise ? response.then(note) : note(response);
  });
  // Called as `(createEvents, options)` or as `(c, events, options)`.
  // deno-lint-ignore no-explicit-any
  const withOrigins = (first: any, second: any, options: any) => {
    if (typeof first !== "function") {
      refuseForeign(first, options);
      return helper(first, second);
    }
    // Before the app makes its events: nothing is begun for a page it refuses.
    return helper((c) => {
      refuseForeign(c, second);
      return first(c);
    });
  };
  return withOrigins as typeof helper;
}

/** Requests that the app has made WebSockets of. */
export const upgraded = new WeakSet<Request>();

/**
 * Whether the app has made a WebSocket of this request. Only on Deno does its
 * response say so, by the status 101: no other lets one be made.
 */
export function isWebSocket(c: Context): boolean {
  return upgraded.has(c.req.raw);
}

export function firstProtocol(c: Context): string {
  return c.req.header("sec-websocket-protocol")?.split(",")[0]?.trim() ?? "";
}

function isUpgrade(c: Context): boolean {
  return c.req.header("upgrade")?.toLowerCase() === "websocket";
}

/**
 * A browser opens a WebSocket for any page, with the user's cookies, and asks
 * nobody: CORS does not apply. It says which page it is, and whoever is no
 * browser could say anything, so a request without an Origin passes. The scheme
 * is not compared: behind a proxy that ends TLS ours is another.
 */
function refuseForeign(
  c: Context,
  { origins = [] }: UpgradeOptions = {},
): void {
  const origin = c.req.header("origin");
  if (origin === undefined || !isUpgrade(c)) return;
  const host = c.req.header("host")?.toLowerCase();
  if (origin === `https://${host}` || origin === `http://${host}`) return;
  if (origins.includes(origin) || origins.includes("*")) return;
  const status = 403;
  const detail = "Pages of this origin may not open this WebSocket.";
  const body = { type: "about:blank", title: "Forbidden", status, detail };
  const headers = { "Content-Type": "application/problem+json" };
  const res = Response.json(body, { status, headers });
  throw new HTTPException(status, { message: detail, res });
}

/** The handlers of one WebSocket: what they throw costs that socket alone. */
export class Guarded<T> {
  readonly #events: WSEvents<T>;
  readonly #host: Host;
  #hasFailed = false;

  constructor(events: WSEvents<T>, host: Host) {
    this.#events = events;
    this.#host = host;
  }

  onOpen(event: Event, socket: WSContext<T>): void {
    this.#run("onOpen", event, socket);
  }

  onMessage(event: MessageEvent, socket: WSContext<T>): void {
    // What still comes in while the socket is closing.
    if (!this.#hasFailed) this.#run("onMessage", event, socket);
  }

  onClose(event: CloseEvent, socket: WSContext<T>): void {
    this.#run("onClose", event, socket);
  }

  onError(event: Event, socket: WSContext<T>): void {
    this.#run("onError", event, socket);
  }

  #run(
    name: keyof WSEvents,
    event: Event,
    socket: WSContext<T>,
  ): void {
    const fail = (error: unknown) => this.#fail(error, socket);
    try {
      // deno-lint-ignore no-explicit-any
      const result: unknown = this.#events[name]?.(event as any, socket);
      // Typed as if it returned nothing; many an app's is asynchronous.
      if (result instanceof Promise) result.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  #fail(error: unknown, socket: WSContext<T>): void {
    this.#hasFailed = true;
    this.#host.failed("WebSocket handler", error);
    socket.close(INTERNAL_ERROR, "internal error");
  }
}
