import { WebSocket, WebSocketServer } from "ws";
import type { Host, Limits, Socket } from "./runtime.ts";
import { MESSAGE_COST } from "./websocket.ts";

/** The largest number that `ws` takes. */
const MOST = 2_147_483_647;

const hosts = new WeakMap<object, Host>();

/** Whom to tell of the sockets of this server. */
export function hostOf(server: WebSocketServer): Host | undefined {
  return hosts.get(server);
}

export function websocketServer(
  host: Host,
  { messageSize, sendBuffer }: Limits,
): WebSocketServer {
  class Peer extends WebSocket implements Socket {
    /** Sent since nothing waited. */
    #messages = 0;

    // deno-lint-ignore no-explicit-any
    override send(...args: any[]): void {
      const bytes = this.bufferedAmount;
      if (bytes === 0) this.#messages = 0;
      if (bytes + this.#messages++ * MESSAGE_COST > sendBuffer) this.cut();
      super.send(...args as [string]);
    }

    cut(): void {
      this.terminate();
    }
  }
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: Math.min(messageSize, MOST),
    WebSocket: Peer,
  });
  hosts.set(server, host);
  server.on("connection", (socket) => {
    socket.on("close", host.opened(socket as Peer));
  });
  return server;
}
