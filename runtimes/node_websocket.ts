import { WebSocket, WebSocketServer } from "ws";
import type { Limits, Socket, SocketKeeper } from "./runtime.ts";
import { MESSAGE_COST } from "./websocket.ts";

/** The largest number that `ws` takes. */
const MOST = 2_147_483_647;

const keepers = new WeakMap<object, SocketKeeper>();

/** Whom to tell of the sockets of this server. */
export function keeperOf(server: WebSocketServer): SocketKeeper | undefined {
  return keepers.get(server);
}

export function websocketServer(
  sockets: SocketKeeper,
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
  keepers.set(server, sockets);
  server.on("connection", (socket) => {
    socket.on("close", sockets.opened(socket as Peer));
  });
  return server;
}
