import type { Socket } from "node:net";

/**
 * Sockets whose TLS handshake is not over. They are known by their peer, for
 * Node tells of the end of a handshake with another object.
 */
export class Handshakes {
  readonly #sockets = new Map<string, Socket>();

  began(socket: Socket): void {
    const peer = peerOf(socket);
    this.#sockets.set(peer, socket);
    socket.on("close", () => this.#sockets.delete(peer));
  }

  over(socket: Socket): void {
    this.#sockets.delete(peerOf(socket));
  }

  cut(): void {
    for (const socket of this.#sockets.values()) socket.destroy();
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
