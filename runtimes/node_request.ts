import * as http from "node:http";
import type { Socket } from "node:net";

export const kUpgrade = Symbol("upgrade");
export const kHead = Symbol("head");

/**
 * Node would hand over the connection of any request that asks for an upgrade,
 * with the request's body unread in it. Here all are served as if they had not
 * asked (RFC 9110, 7.8), until the app makes a WebSocket of one.
 */
export const { IncomingMessage } = {
  IncomingMessage: class extends http.IncomingMessage {
    // Not a private field: the constructor of the base class sets `upgrade`.
    declare [kUpgrade]: "asked" | "granted" | undefined;
    declare [kHead]: Buffer | undefined;

    get upgrade(): boolean {
      return this[kUpgrade] === "granted";
    }
    set upgrade(upgrade: boolean) {
      if (upgrade) this[kUpgrade] = "asked";
    }
  },
};
export type Request = InstanceType<typeof IncomingMessage>;

/** What Node parses holds this request alone, and what came behind it. */
export function keepHead(request: Request): void {
  const { parser } = request.socket as Socket & {
    parser?: { getCurrentBuffer?(): Buffer };
  };
  const packet = parser?.getCurrentBuffer?.();
  const end = packet?.indexOf("\r\n\r\n") ?? -1;
  if (end >= 0) request[kHead] = packet!.subarray(end + 4);
}

export function asksForWebSocket({ headers }: http.IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}

/** Whether it is all that RFC 6455 asks of the request for a WebSocket. */
export function isHandshake(request?: http.IncomingMessage): boolean {
  if (!(request instanceof IncomingMessage)) return false;
  const { method, headers, httpVersion } = request;
  return request[kUpgrade] === "asked" && asksForWebSocket(request) &&
    method === "GET" &&
    httpVersion === "1.1" && headers["sec-websocket-version"] === "13" &&
    /^[+/0-9a-z]{22}==$/i.test(headers["sec-websocket-key"] ?? "");
}

/**
 * The rest of a request that stands in the way of the connection's next. A body
 * that is being read directly (as `text()` and `json()` do) flows by itself; one
 * that was begun as a stream pauses where its reader has left it. Then the rest
 * is thrown away as it comes, and the reader told, should there be one: what it
 * has got is not the whole.
 */
export function discardRest(request: http.IncomingMessage): void {
  const discard = () => {
    if (request.listenerCount("error") > 0) {
      request.emit(
        "error",
        new Error("The response went out before the body."),
      );
    }
    request.removeAllListeners("data");
    request.resume();
  };
  if (request.readableFlowing === false) discard();
  else request.once("pause", discard);
}
