import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { createWSMessageEvent, WSContext } from "hono/ws";
import type { IncomingMessage } from "node:http";
import type { WebSocket, WebSocketServer } from "ws";
import type { Connections } from "./node_connections.ts";
import { isHandshake } from "./node_request.ts";
import { hostOf } from "./node_websocket.ts";
import type { FetchHandler } from "./runtime.ts";
import { turn } from "./wait.ts";
import { defineUpgrade, Guarded } from "./websocket.ts";

/** Requests that the app has taken for a WebSocket, and what that does then. */
const taken = new WeakMap<IncomingMessage, (socket: WebSocket) => void>();

/**
 * Not @hono/node-server's: that answers outside of HTTP as soon as a request
 * asks for a WebSocket, whatever it is for. What the app would have answered is
 * lost with its body, which nobody cancels; a client that leaves is not seen.
 */
export const upgradeWebSocket = defineUpgrade<WebSocket>((c, events) => {
  const incoming = c.env?.incoming as IncomingMessage | undefined;
  if (!incoming) {
    throw new TypeError(
      "The second argument that `fetch` is called with has to reach Hono.",
    );
  }
  const host = isHandshake(incoming) ? hostOf(c.env.wss) : undefined;
  if (!host) {
    const headers = { "Sec-WebSocket-Version": "13" };
    return new Response(null, { status: 400, headers });
  }
  const { url } = c.req;
  const guarded = new Guarded<WebSocket>(events, host);
  taken.set(incoming, (socket) => open(socket, url, guarded));
  return new Response(null);
});

/** In front of the app: opens the WebSocket once the app's answer is there. */
export function withWebSockets(
  fetch: FetchHandler,
  websockets: WebSocketServer,
  connections: Connections,
): FetchHandler {
  return async (request, { incoming, outgoing }: HttpBindings) => {
    const env = { incoming, outgoing, wss: websockets };
    const response = await fetch(request, env);
    // HTTP/2 has no such requests.
    const message = incoming as IncomingMessage;
    const opened = taken.get(message);
    if (!opened) return response;
    // As on Deno and Bun, where it has been one since the app asked for it.
    void response.body?.cancel();
    // Node parses until then.
    await turn();
    const upgraded = connections.upgrade(message, outgoing as never);
    if (!upgraded) return new Response(null, { status: 400 });
    const addHeaders = (lines: string[]) =>
      response.headers.forEach((value, name) => {
        if (!ownHeaders.test(name)) lines.push(`${name}: ${value}`);
      });
    websockets.on("headers", addHeaders);
    try {
      const { socket, head } = upgraded;
      websockets.handleUpgrade(message, socket, head, (websocket) => {
        websockets.emit("connection", websocket, message);
        opened(websocket);
      });
    } finally {
      websockets.off("headers", addHeaders);
    }
    return RESPONSE_ALREADY_SENT;
  };
}

/** What a handshake says itself, or what describes a body. */
const ownHeaders =
  /^(connection|content-(length|type)|keep-alive|te|trailer|transfer-encoding|upgrade|sec-websocket-.*)$/;

function open(
  socket: WebSocket,
  url: string,
  events: Guarded<WebSocket>,
): void {
  const context = new WSContext<WebSocket>({
    raw: socket,
    url,
    protocol: socket.protocol,
    get readyState() {
      return socket.readyState as WSContext["readyState"];
    },
    send: (data, options) => socket.send(data, options),
    close: (code, reason) => socket.close(code, reason),
  });
  socket.on("message", (data: Buffer, isBinary) => {
    const message = isBinary
      ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)
      : data.toString();
    events.onMessage(createWSMessageEvent(message), context);
  });
  // Node 20 and 22 have no CloseEvent, and none has an ErrorEvent.
  socket.on("close", (code, reason) => {
    const about = { code, reason: reason.toString(), wasClean: code !== 1006 };
    const event = Object.assign(new Event("close"), about) as CloseEvent;
    events.onClose(event, context);
  });
  socket.on("error", (error) => {
    events.onError(Object.assign(new Event("error"), { error }), context);
  });
  events.onOpen(new Event("open"), context);
}
