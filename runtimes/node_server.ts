// Node's server, with the limits, and with responses that say when they are out.

import * as http from "node:http";
import { createSecureServer } from "node:http2";
import type { Socket } from "node:net";
import { http2Options } from "./node_http2.ts";
import { IncomingMessage, type Request } from "./node_request.ts";
import type { Host, Limits, Tls } from "./runtime.ts";
import { CHECKING } from "./times.ts";

export function serverOf(
  limits: Limits,
  tls: Tls | undefined,
  host: Host,
  out: (response: http.ServerResponse) => void,
): http.Server {
  // Node calls this when a response is out, flushed and all; so no response
  // needs a listener of its own.
  function detachSocket(this: http.ServerResponse, socket: Socket): void {
    http.ServerResponse.prototype.detachSocket.call(this, socket);
    out(this);
  }
  // Named by its key: a bundler may call a class otherwise, the app sees it, and
  // to define a name anew costs 15 % of a trivial request.
  const { ServerResponse } = {
    ServerResponse: class extends http.ServerResponse<Request> {
      // There is a second argument, which the types do not know.
      constructor(...args: [Request]) {
        super(...args);
        // Not a method: Express gives the responses it gets another prototype.
        this.detachSocket = detachSocket;
      }
      // @hono/node-server sends a stream's head by itself, before what the
      // stream has at hand. Together they are one system call, not two: a
      // seventh more streams.
      override flushHeaders(): void {
        const { socket } = this;
        socket?.cork();
        super.flushHeaders();
        if (socket) setImmediate(uncork, socket);
      }
    },
  };
  const server = tls
    ? createSecureServer({
      ...tls,
      allowHTTP1: true,
      handshakeTimeout: limits.headTimeout,
      Http1IncomingMessage: IncomingMessage,
      Http1ServerResponse: ServerResponse,
      ...http2Options(limits, host),
    }) as unknown as http.Server
    : http.createServer({ IncomingMessage, ServerResponse });
  server.headersTimeout = Math.min(limits.headTimeout, limits.requestTimeout);
  server.requestTimeout = limits.requestTimeout;
  server.keepAliveTimeout = limits.idleTimeout;
  Object.assign(server, {
    connectionsCheckingInterval: CHECKING,
    maxHeaderSize: limits.headSize,
  });
  if (limits.connections < Infinity) {
    server.maxConnections = limits.connections;
  }
  return server;
}

function uncork(socket: Socket): void {
  socket.uncork();
}
