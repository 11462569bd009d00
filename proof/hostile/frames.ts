/** HTTP/2's frames, right or wrong, as bytes. */
import { Buffer } from "node:buffer";

export const Type = {
  data: 0,
  headers: 1,
  priority: 2,
  rst: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
export const Flag = {
  endStream: 1,
  ack: 1,
  endHeaders: 4,
  padded: 8,
  priority: 32,
} as const;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** `length` is what the frame claims, where that is not the truth. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length & 0xffffff, 0, 3);
  head.set([type & 255, flags & 255], 3);
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value >>> 0, 4 * i));
  return bytes;
}

/** Pairs of a setting's number and its value. */
export function settings(...pairs: [number, number][]): Buffer {
  return frame(
    Type.settings,
    0,
    0,
    Buffer.concat(pairs.map(([id, value]) => {
      const pair = Buffer.alloc(6);
      pair.writeUInt16BE(id);
      pair.writeUInt32BE(value >>> 0, 2);
      return pair;
    })),
  );
}

export const hello = (...pairs: [number, number][]) =>
  Buffer.concat([preface, settings(...pairs)]);

/** HPACK in its plainest form: literals, no table, no Huffman code. */
export function headerBlock(fields: [string, string][]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) =>
      Buffer.concat([Buffer.from([0]), string(name), string(value)])
    ),
  );
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([integer(bytes.length), bytes]);
}

/** With a prefix of seven bits. */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const bytes = [127];
  for (value -= 127; value >= 128; value >>= 7) bytes.push(value & 127 | 128);
  return Buffer.from([...bytes, value]);
}

export const request = (
  method: string,
  path: string,
  ...more: [string, string][]
): Buffer =>
  headerBlock([
    [":method", method],
    [":scheme", "https"],
    [":authority", "localhost"],
    [":path", path],
    ...more,
  ]);

/** A whole GET on this stream. */
export const get = (
  stream: number,
  path: string,
  ...more: [string, string][]
): Buffer =>
  frame(
    Type.headers,
    Flag.endStream | Flag.endHeaders,
    stream,
    request("GET", path, ...more),
  );

/** What came back, as far as its frames are whole. */
export function framesOf(bytes: Buffer): {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}[] {
  const frames = [];
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({
      type: bytes[at + 3]!,
      flags: bytes[at + 4]!,
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
}
