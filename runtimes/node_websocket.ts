import { upgradeWebSocket as upgrade } from "@hono/node-server";
import type { Socket as Connection } from "node:net";
import type { WSEvents } from "hono/ws";
import { WebSocket, WebSocketServer } from "ws";
import type { Limits, Socket, SocketKeeper } from "./runtime.ts";
import { defineUpgrade, Guarded, MESSAGE_COST } from "./websocket.ts";

/** The largest number that `ws` takes. */
const MOST = 2_147_483_647;

const keepers = new WeakMap<object, SocketKeeper>();

export const upgradeWebSocket = defineUpgrade<WebSocket>((c, events) => {
  const sockets = keepers.get(c.env?.wss);
  if (!sockets) {
    throw new TypeError(
      "The second argument that `fetch` is called with has to reach Hono.",
    );
  }
  // Structurally the same; only `raw` is typed as less than it is.
  return upgrade(
    c,
    new Guarded(events, sockets) as Guarded<unknown> as WSEvents,
  );
});

/** `upgraded` is told of each connection that has become a WebSocket. */
export function websocketServer(
  sockets: SocketKeeper,
  { messageSize, sendBuffer }: Limits,
  upgraded: (connection: Connection) => void,
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
  server.on("connection", (socket, { socket: connection }) => {
    upgraded(connection);
    socket.on("close", sockets.opened(socket as Peer));
  });
  return server;
}
