/** WebSocket frames as a client sends them, right or wrong, as bytes. */
import { Buffer } from "node:buffer";

export const Opcode = {
  continuation: 0,
  text: 1,
  binary: 2,
  close: 8,
  ping: 9,
  pong: 10,
} as const;

export interface Shape {
  fin?: boolean;
  /** The three reserved bits. */
  reserved?: number;
  masked?: boolean;
  /** What the frame claims, where that is not the truth. */
  length?: number | bigint;
  /** 7, 16 or 64 bits for the length, whether needed or not. */
  bits?: 7 | 16 | 64;
}

export function frame(
  opcode: number,
  payload: string | Uint8Array = "",
  { fin = true, reserved = 0, masked = true, length, bits }: Shape = {},
): Buffer {
  const body = Buffer.from(payload as Uint8Array);
  const claimed = BigInt(length ?? body.length);
  const size = bits ?? (claimed < 126n ? 7 : claimed < 65_536n ? 16 : 64);
  const first = (fin ? 128 : 0) | (reserved & 7) << 4 | opcode & 15;
  const mask = masked ? 128 : 0;
  let head: Buffer;
  if (size === 7) head = Buffer.from([first, mask | Number(claimed & 127n)]);
  else if (size === 16) {
    head = Buffer.from([first, mask | 126, 0, 0]);
    head.writeUInt16BE(Number(claimed & 0xffffn), 2);
  } else {
    head = Buffer.from([first, mask | 127, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeBigUInt64BE(BigInt.asUintN(64, claimed), 2);
  }
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([
    head,
    masked ? Buffer.alloc(4) : Buffer.alloc(0),
    body,
  ]);
}

export function upgrade(path: string, ...more: string[]): string {
  return [
    `GET ${path} HTTP/1.1`,
    "Host: localhost",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...more,
    "\r\n",
  ].join("\r\n");
}
