/**
 * An HTTP/2 client that hides nothing: every frame that matters is written and
 * read here, so that it can be silent, slow or stubborn where a library would
 * be polite. It never answers a GOAWAY and never closes, unless told to; made
 * polite, it does what Node's client and browsers do.
 */
import { Buffer } from "node:buffer";
import type * as net from "node:net";
import { dial } from "./dial.ts";
import { Cut } from "./raw_client.ts";

const DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6;
const GOAWAY = 7, WINDOW_UPDATE = 8;
/** A stream that may be sent again: nobody has looked at it. */
const REFUSED_STREAM = 7;
const END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8;
export const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/** All the window there is: nobody waits for us, unless we say so. */
const WIDE = 2 ** 31 - 1;

/** A server that can take a WebSocket over HTTP/2 says so (RFC 8441). */
export const ENABLE_CONNECT_PROTOCOL = 8;

export interface Http2Response {
  status: number | undefined;
  /** Its status is 200. */
  ok: boolean;
  chunks: Uint8Array[];
  length: number;
  whole: boolean;
  /** The code with which the server reset the stream. */
  reset: number | undefined;
  lastByteAt: number;
}

export interface Http2Options {
  /** What the server may send on a stream before it is allowed more. */
  window?: number;
  /** Its own end follows the server's, as a socket's does. */
  closes?: boolean;
  /** It acknowledges the settings. */
  acknowledges?: boolean;
  /** It says nothing before it is told to. */
  greets?: boolean;
}

export class RawHttp2 {
  /** The last stream of each GOAWAY that came. */
  readonly goaways: number[] = [];
  /** What the server has said of itself. */
  readonly settings = new Map<number, number>();
  readonly closed: Promise<{ how: "fin" | "reset" }>;
  /** Answers GOAWAY with GOAWAY, and closes when its streams are over. */
  isPolite = false;
  /** When its last whole response had arrived, by the wall clock. */
  usedAt: number | undefined;
  #saidGoaway = false;
  #socket: net.Socket;
  #pending: Buffer = Buffer.alloc(0);
  #streams = new Map<number, Http2Response>();
  #nextStream = 1;
  #ended = false;
  #settled = false;
  #watchers = new Set<() => void>();

  #acknowledges: boolean;

  static async dial(
    url: string,
    options: number | Http2Options = {},
  ): Promise<RawHttp2> {
    const { window = WIDE, closes = true, acknowledges = true, greets = true } =
      typeof options === "number" ? { window: options } : options;
    const socket = await dial(url, "h2", !closes);
    return new RawHttp2(socket, acknowledges, greets ? window : undefined);
  }

  private constructor(
    socket: net.Socket,
    acknowledges: boolean,
    window: number | undefined,
  ) {
    this.#socket = socket;
    this.#acknowledges = acknowledges;
    let how: "fin" | "reset" = "reset";
    socket.on("data", (data: Uint8Array) => this.#read(Buffer.from(data)));
    socket.on("end", () => how = "fin");
    socket.on("error", () => {});
    this.closed = new Promise((resolve) =>
      socket.on("close", () => {
        this.#ended = true;
        resolve({ how });
        this.#changed();
      })
    );
    if (window === undefined) return;
    const settings = Buffer.alloc(12); // no table for headers: see statusOf
    settings.writeUInt16BE(1);
    settings.writeUInt16BE(4, 6);
    settings.writeUInt32BE(window, 8);
    socket.write(Buffer.concat([
      Buffer.from(PREFACE),
      frame(SETTINGS, 0, 0, settings),
      // The window of the connection begins with 65,535, whatever the setting.
      frame(WINDOW_UPDATE, 0, 0, uint32(WIDE - 65_535)),
    ]));
  }

  get isOpen(): boolean {
    return !this.#ended;
  }

  /** Opens a stream; with a `body`, the upload goes on until `finish`. */
  request(
    method: string,
    path: string,
    body?: string,
    headers: Record<string, string> = {},
  ): number {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    this.#streams.set(stream, {
      status: undefined,
      ok: false,
      chunks: [],
      length: 0,
      whole: false,
      reset: undefined,
      lastByteAt: 0,
    });
    const flags = END_HEADERS | (body === undefined ? END_STREAM : 0);
    const head = [
      [":method", method],
      [":scheme", "https"],
      [":authority", "localhost"],
      [":path", path],
      ...Object.entries(headers),
    ].map(([name = "", value = ""]) => literal(name, value));
    this.#write(frame(HEADERS, flags, stream, Buffer.concat(head)));
    if (body) this.send(stream, body);
    return stream;
  }

  /** More of an upload. */
  send(stream: number, body: string): void {
    this.#write(frame(DATA, 0, stream, Buffer.from(body)));
  }

  /** A request's head that does not end. */
  beginHead(): void {
    const head = literal(":method", "GET");
    this.#write(frame(HEADERS, END_STREAM, this.#nextStream, head));
  }

  finish(stream: number, body: string): void {
    this.#write(frame(DATA, END_STREAM, stream, Buffer.from(body)));
  }

  /** Lets the server send this much more. */
  allow(stream: number, bytes: number): void {
    this.#write(frame(WINDOW_UPDATE, 0, stream, uint32(bytes)));
  }

  /** The response on this stream, when it is whole. */
  response(stream: number): Promise<Http2Response> {
    return this.#until(`the response on stream ${stream}`, () => {
      const response = this.#streams.get(stream)!;
      // Whole, and then reset: no more of the request is wanted.
      if (response.whole) return response;
      if (response.reset === undefined) return undefined;
      throw new Cut(`stream ${stream} was reset with ${response.reset}`);
    });
  }

  async get(
    path: string,
    headers?: Record<string, string>,
  ): Promise<Http2Response> {
    const stream = this.request("GET", path, undefined, headers);
    return await this.response(stream);
  }

  /** Resolves with the code when the server has reset this stream. */
  reset(stream: number): Promise<number> {
    return this.#until(
      `a reset of stream ${stream}`,
      () => this.#streams.get(stream)!.reset,
    );
  }

  /** All that `act` writes goes out in one piece. */
  atOnce(act: () => void): void {
    this.#socket.cork();
    act();
    this.#socket.uncork();
  }

  /** Resets a stream; 8 says that the client gave it up. */
  cancel(stream: number, code = 8): void {
    this.#write(frame(RST_STREAM, 0, stream, uint32(code)));
  }

  ping(): void {
    this.#write(frame(PING, 0, 0, Buffer.alloc(8)));
  }

  sayGoaway(): void {
    this.#write(frame(GOAWAY, 0, 0, Buffer.alloc(8)));
  }

  /** Resolves when the server's settings have come, and thus been answered. */
  async settled(): Promise<void> {
    await this.#until("the settings", () => this.#settled || undefined);
  }

  /** Whatever these bytes may mean. */
  write(bytes: string): void {
    this.#write(Buffer.from(bytes, "latin1"));
  }

  /** A machine that went to sleep: it reads nothing and says nothing. */
  vanish(): void {
    this.#socket.pause();
    this.#socket.unref(); // it will not hear of the end
  }

  /** From now on reads in gulps: about `bytesPerSecond`, never more. */
  readSlowly(bytesPerSecond: number): void {
    let allowed = 0;
    this.#socket.pause();
    const timer = setInterval(() => {
      allowed = bytesPerSecond / 50;
      this.#socket.resume();
    }, 20);
    this.#socket.on("data", (data: Uint8Array) => {
      allowed -= data.length;
      if (allowed <= 0) this.#socket.pause();
    });
    void this.closed.then(() => clearInterval(timer));
  }

  /** Resolves when that much of this stream's body has arrived. */
  async received(stream: number, bytes: number): Promise<void> {
    await this.#until(`${bytes} bytes on stream ${stream}`, () => {
      const response = this.#streams.get(stream)!;
      return response.length >= bytes ? response : undefined;
    });
  }

  /** Resolves when this has arrived as part of the stream's body. */
  async brings(stream: number, what: string): Promise<void> {
    await this.#until(`${JSON.stringify(what)} on stream ${stream}`, () => {
      const { chunks, reset } = this.#streams.get(stream)!;
      if (reset !== undefined) {
        throw new Cut(`stream ${stream} was reset with ${reset}`);
      }
      return Buffer.concat(chunks).includes(what) || undefined;
    });
  }

  /** Resolves with the last stream of the final GOAWAY. */
  goaway(): Promise<number> {
    return this.#until(
      "a GOAWAY",
      () => this.goaways.find((last) => last !== WIDE),
    );
  }

  /** The last stream that the server says it has taken; not its first notice. */
  get lastTaken(): number | undefined {
    return this.goaways.findLast((last) => last !== WIDE);
  }

  /** The server has said so: this request may be sent again. */
  wasNotProcessed(stream: number): boolean {
    const { lastTaken } = this;
    return lastTaken !== undefined && stream > lastTaken ||
      this.#streams.get(stream)?.reset === REFUSED_STREAM;
  }

  isUnread(stream: number): boolean {
    const { status, length } = this.#streams.get(stream)!;
    return status === undefined && length === 0;
  }

  leave(): void {
    this.#socket.destroy();
  }

  #write(bytes: Uint8Array): void {
    if (!this.#ended) this.#socket.write(bytes);
  }

  #until<T>(what: string, check: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        try {
          const found = check();
          if (found !== undefined) resolve(found);
          else if (this.#ended) {
            throw new Cut(`the connection ended before ${what}`);
          } else return;
        } catch (error) {
          reject(error);
        }
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  #bePolite(): void {
    if (!this.isPolite || this.goaways.length === 0) return;
    if (!this.#saidGoaway) this.sayGoaway();
    this.#saidGoaway = true;
    const isOver = ([id, { whole, reset }]: [number, Http2Response]) =>
      whole || reset !== undefined || this.wasNotProcessed(id);
    if ([...this.#streams].every(isOver)) this.#socket.end();
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }

  #read(data: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, data]);
    while (this.#pending.length >= 9) {
      const end = 9 + this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < end) break;
      const [type = 0, flags = 0] = this.#pending.subarray(3, 5);
      const stream = this.#pending.readUInt32BE(5) & WIDE;
      this.#take(type, flags, stream, this.#pending.subarray(9, end));
      this.#pending = this.#pending.subarray(end);
    }
    this.#bePolite();
    this.#changed();
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    const response = this.#streams.get(stream);
    if (type === SETTINGS && !(flags & ACK)) {
      for (let at = 0; at < payload.length; at += 6) {
        this.settings.set(
          payload.readUInt16BE(at),
          payload.readUInt32BE(at + 2),
        );
      }
      if (this.#acknowledges) this.#write(frame(SETTINGS, ACK, 0));
      this.#settled = true;
    } else if (type === PING && !(flags & ACK)) {
      this.#write(frame(PING, ACK, 0, payload));
    } else if (type === GOAWAY) {
      this.goaways.push(payload.readUInt32BE(0) & WIDE);
    } else if (response && type === RST_STREAM) {
      response.reset = payload.readUInt32BE(0);
    } else if (response && (type === DATA || type === HEADERS)) {
      if (flags & PADDED) throw new Error("no server of ours pads its frames");
      if (type === HEADERS) {
        response.status ??= statusOf(payload);
        response.ok = response.status === 200;
      } else if (payload.length > 0) {
        response.chunks.push(payload);
        response.length += payload.length;
      }
      response.lastByteAt = performance.now();
      if (flags & END_STREAM) {
        response.whole = true;
        this.usedAt = performance.timeOrigin + response.lastByteAt;
      }
    }
  }
}

function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A header in HPACK's plainest form: no table, no Huffman code. */
function literal(name: string, value: string): Buffer {
  const text = (text: string) => {
    const bytes = Buffer.from(text);
    return Buffer.concat([Buffer.from(integer(bytes.length)), bytes]);
  };
  return Buffer.concat([Buffer.alloc(1), text(name), text(value)]);
}

/** Beyond 7 bits it goes on in as many bytes as it takes. */
function integer(value: number): number[] {
  if (value < 127) return [value];
  const bytes = [127];
  for (value -= 127; value >= 128; value >>= 7) bytes.push(value % 128 + 128);
  return [...bytes, value];
}

/** Entries 8 to 14 of HPACK's static table. */
const statuses = [200, 204, 206, 304, 400, 404, 500];

/**
 * The status comes first, after updates of the table's size (001xxxxx), which is
 * 0: as an entry of the static table (1xxxxxxx), or as a value for its entry 8
 * (xxxx1000), in digits or in Huffman's code.
 */
function statusOf(block: Buffer): number | undefined {
  let at = 0;
  while (block[at]! >> 5 === 0b001) at++;
  const first = block[at]!;
  if (first & 0x80) return statuses[(first & 0x7f) - 8];
  if ((first & (first & 0x40 ? 0x3f : 0x0f)) !== 8) return; // trailers
  const length = block[at + 1]! & 0x7f;
  const value = block.subarray(at + 2, at + 2 + length);
  if (!(block[at + 1]! & 0x80)) return Number(value);
  const bits = [...value].map((byte) => byte.toString(2).padStart(8, "0"))
    .join("");
  // 0 to 2 have five bits, 3 to 9 have six and begin at 011001.
  return Number(
    bits.match(/000(00|01|10)|011\d{3}/g)!.slice(0, 3)
      .map((code) => parseInt(code, 2))
      .map((code) => code < 3 ? code : code - 0b011001 + 3).join(""),
  );
}
