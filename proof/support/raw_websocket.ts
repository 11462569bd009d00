/**
 * A WebSocket client that hides nothing: what arrived, frame by frame, whether
 * the close frame did, and how the connection ended. It answers a close frame,
 * unless it is told to be deaf.
 */
import { Buffer } from "node:buffer";
import type * as net from "node:net";
import { dial } from "./dial.ts";

const CLOSE = 8;

export interface Closed {
  /** 1006 when no close frame came, as a browser would say. */
  code: number;
  reason: string;
  how: "fin" | "reset";
}

/** What a client sends to get a WebSocket. */
export function upgradeBytes(
  path: string,
  headers: Record<string, string> = {},
): string {
  const all = {
    Host: "localhost",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return `GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
}

/** A client's frames are masked; a mask of zeros leaves them as they are. */
export function frame(
  opcode: number,
  payload: string | Uint8Array = "",
  fin = true,
): Buffer {
  const body = Buffer.from(payload);
  const first = (fin ? 128 : 0) | opcode;
  if (body.length < 126) {
    const head = [first, 128 | body.length, 0, 0, 0, 0];
    return Buffer.concat([Buffer.from(head), body]);
  }
  const head = Buffer.alloc(14);
  head.set([first, 255]);
  head.writeBigUInt64BE(BigInt(body.length), 2);
  return Buffer.concat([head, body]);
}

export class RawWebSocket {
  readonly messages: string[] = [];
  readonly closed: Promise<Closed>;
  /** Bytes of all messages. */
  received = 0;
  #socket: net.Socket;
  #pending: Buffer = Buffer.alloc(0);
  #status = 0;
  #upgrades = false;
  #close: { code: number; reason: string } | undefined;
  #deaf = false;
  #watchers = new Set<() => void>();

  /** `behind` comes in one packet with the handshake. */
  static async connect(
    url: string,
    path: string,
    headers?: Record<string, string>,
    behind: string | Uint8Array = "",
  ): Promise<RawWebSocket> {
    return await RawWebSocket.over(await dial(url), path, headers, behind);
  }

  static async over(
    socket: net.Socket,
    path: string,
    headers?: Record<string, string>,
    behind: string | Uint8Array = "",
  ): Promise<RawWebSocket> {
    const client = new RawWebSocket(socket);
    const handshake = Buffer.from(upgradeBytes(path, headers));
    socket.write(Buffer.concat([handshake, Buffer.from(behind)]));
    await client.#until("the handshake", () => client.#status > 0);
    // A browser takes no other 101 for one.
    if (client.#status === 101 && client.#upgrades) return client;
    throw new Error(`the upgrade was answered ${client.#status}, or not whole`);
  }

  /** What a handshake is answered with. */
  static async status(
    url: string,
    path: string,
    headers?: Record<string, string>,
  ): Promise<number> {
    const socket = await dial(url);
    const client = new RawWebSocket(socket);
    socket.write(upgradeBytes(path, headers));
    await client.#until("the handshake", () => client.#status > 0);
    client.leave();
    return client.#status;
  }

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    let how: Closed["how"] = "reset";
    socket.on("data", (data: Uint8Array) => this.#read(Buffer.from(data)));
    socket.on("end", () => how = "fin");
    socket.on("error", () => {});
    this.closed = new Promise((resolve) =>
      socket.on("close", () => {
        resolve({ ...this.#close ?? { code: 1006, reason: "" }, how });
        this.#changed();
      })
    );
  }

  send(data: string | Uint8Array): void {
    this.write(frame(typeof data === "string" ? 1 : 2, data));
  }

  /** Frames, or what is none. Resolves when the kernel has the bytes. */
  write(bytes: Uint8Array): Promise<boolean> {
    if (this.#socket.destroyed) return Promise.resolve(false);
    return new Promise((resolve) => {
      void this.closed.then(() => resolve(false));
      this.#socket.write(bytes, (error) => resolve(!error));
    });
  }

  /** Neither reads nor answers from now on. */
  goDeaf(): void {
    this.#deaf = true;
    this.#socket.pause();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  leave(): void {
    this.#socket.destroy();
  }

  async message(text: string): Promise<void> {
    await this.#until(
      JSON.stringify(text),
      () => this.messages.includes(text),
    );
  }

  #until(what: string, check: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (check()) resolve();
        else if (this.#socket.destroyed) reject(new Error(`no ${what}`));
        else return;
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }

  #read(data: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, data]);
    if (this.#status === 0) this.#readHead();
    while (this.#status === 101 && this.#readFrame());
    this.#changed();
  }

  #readHead(): void {
    const end = this.#pending.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#pending.toString("latin1", 0, end);
    this.#status = Number(head.slice(9, 12));
    this.#upgrades = /\r\nconnection: *upgrade\r\n/i.test(head + "\r\n");
    this.#pending = this.#pending.subarray(end + 4);
  }

  #readFrame(): boolean {
    const data = this.#pending;
    if (data.length < 2) return false;
    let length = data[1]! & 127, start = 2;
    if (length === 126) {
      [length, start] = [data.length < 4 ? Infinity : data.readUInt16BE(2), 4];
    } else if (length === 127) {
      [length, start] = [
        data.length < 10 ? Infinity : Number(data.readBigUInt64BE(2)),
        10,
      ];
    }
    if (data.length < start + length) return false;
    const payload = data.subarray(start, start + length);
    this.#pending = data.subarray(start + length);
    const opcode = data[0]! & 15;
    if (opcode === CLOSE) {
      this.#close = {
        code: payload.length >= 2 ? payload.readUInt16BE(0) : 1005,
        reason: payload.toString("utf8", 2),
      };
      if (!this.#deaf) this.write(frame(CLOSE, payload.subarray(0, 2)));
    } else {
      this.received += length;
      if (length < 1000) this.messages.push(payload.toString());
    }
    return true;
  }
}
