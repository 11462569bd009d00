import { Buffer } from "node:buffer";
import * as http from "node:http";
import type { Socket } from "node:net";
import { kHead, kUpgrade, type Request } from "./node_request.ts";
import type { Host } from "./runtime.ts";

/** Connections that have left HTTP for a WebSocket, which says when it is done. */
export class Upgraded {
  readonly #all = new Set<Socket>();
  readonly #host: Host;
  /** The latest one that Node has handed over. */
  #handedOver: Socket | undefined;

  constructor(server: http.Server, host: Host) {
    this.#host = host;
    server.on("upgrade", (_, socket: Socket) => this.#handedOver = socket);
  }

  /**
   * The connection of this request, and what its client has sent already.
   * Undefined if Node does not hand it over. Never to be called while Node
   * parses, which would abort the process: not in a microtask of a request.
   */
  take(
    request: Request,
    response: http.ServerResponse,
  ): { socket: Socket; head: Buffer } | undefined {
    const { socket } = request;
    this.#all.add(socket);
    socket.on("close", () => this.#all.delete(socket));
    // Node looks for an upgrade each time when it has parsed something, and
    // then does all that has to be done.
    request[kUpgrade] = "granted";
    try {
      http.ServerResponse.prototype.detachSocket.call(response, socket);
      socket.emit("data", Buffer.alloc(0));
    } catch (error) {
      this.#host.failed("WebSocket handler", error);
    }
    const isOurs = this.#handedOver === socket;
    this.#handedOver = undefined;
    if (isOurs) return { socket, head: request[kHead] ?? Buffer.alloc(0) };
    socket.destroy();
  }

  cut(): void {
    for (const socket of this.#all) socket.destroy();
  }
}
