/**
 * An HTTP/1.1 client that hides nothing: it writes what it is told, byte by
 * byte if need be, and reports exactly what arrived and how the end came.
 */
import type * as net from "node:net";
import { Buffer } from "node:buffer";
import { dial } from "./dial.ts";

export interface RawResponse {
  status: number;
  headers: Map<string, string>;
  /** Everything of the body that has arrived so far. */
  chunks: Uint8Array[];
  length: number;
  /** The body ended the way its head had promised. */
  whole: boolean;
  headAt: number;
  lastByteAt: number;
}

export interface Ending {
  /** "left" is our own doing. */
  how: "fin" | "reset" | "left";
  at: number;
}

export interface RequestInit {
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

export function requestBytes(
  method: string,
  path: string,
  { headers = {}, body }: RequestInit = {},
): Buffer {
  const bytes = Buffer.from(body ?? "");
  const all: Record<string, string> = { Host: "localhost", ...headers };
  if (body !== undefined) all["Content-Length"] ??= String(bytes.length);
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  const head = `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

export function text(response: { chunks: Uint8Array[] }): string {
  return Buffer.concat(response.chunks).toString();
}

/** The response is whole, and its bytes are the fixture's pattern. */
export function isPattern(
  response: { chunks: Uint8Array[]; whole: boolean },
  length: number,
): boolean {
  let i = 0;
  for (const chunk of response.chunks) {
    for (let k = 0; k < chunk.length; k++, i++) {
      if (chunk[k] !== i % 251) return false;
    }
  }
  return response.whole && i === length;
}

/** A connection ended before what was waited for had arrived. */
export class Cut extends Error {
  override name = "Cut";
}

export class RawClient {
  /** Every response that has at least its head. */
  readonly responses: RawResponse[] = [];
  readonly closed: Promise<Ending>;
  /** When the last byte of any kind arrived. */
  lastByteAt = 0;
  ending: Ending | undefined;
  #socket: net.Socket;
  #pending: Buffer = Buffer.alloc(0);
  #body: Body | undefined;
  #asked = 0;
  #watchers = new Set<() => void>();

  static async connect(port: number, host = "127.0.0.1"): Promise<RawClient> {
    const name = host.includes(":") ? `[${host}]` : host;
    return await RawClient.dial(`http://${name}:${port}`);
  }

  /** Rejects with the system's error (its `code` says which). */
  static async dial(url: string, protocol?: string): Promise<RawClient> {
    return new RawClient(await dial(url, protocol));
  }

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    let how: Ending["how"] = "left";
    socket.on("data", (data: Uint8Array) => this.#received(Buffer.from(data)));
    socket.on("end", () => how = "fin");
    // After a clean end our own late write may still fail: that is no reset.
    socket.on("error", () => how = how === "fin" ? "fin" : "reset");
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.#endOfStream(how);
        resolve(this.ending = { how, at: performance.now() });
        this.#changed();
      });
    });
  }

  /** Resolves when the kernel has the bytes, `false` if it never will. */
  write(data: string | Uint8Array): Promise<boolean> {
    if (this.#socket.destroyed) return Promise.resolve(false);
    return new Promise((resolve) => {
      void this.closed.then(() => resolve(false));
      this.#socket.write(data, (error) => resolve(!error));
    });
  }

  send(method: string, path: string, init?: RequestInit): Promise<boolean> {
    return this.write(requestBytes(method, path, init));
  }

  /** Sends a GET and waits for its whole response. */
  get(path: string): Promise<RawResponse> {
    void this.send("GET", path);
    return this.response();
  }

  /** The next response in order, when it is whole. */
  response(): Promise<RawResponse> {
    const index = this.#asked++;
    return this.#until(`response ${index + 1}, whole`, () => {
      const response = this.responses[index];
      return response?.whole ? response : undefined;
    });
  }

  /** Waits until some of the newest response's body has arrived. */
  received(what: string): Promise<RawResponse> {
    return this.#until(JSON.stringify(what), () => {
      const response = this.responses.at(-1);
      return response && text(response).includes(what) ? response : undefined;
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
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

  /** Says that nothing more will come, and goes on reading. */
  halfClose(): void {
    this.#socket.end();
  }

  /** Gives up: the server sees the connection go away. */
  leave(): void {
    this.#socket.destroy();
  }

  #until<T>(what: string, check: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = check();
        if (found !== undefined) resolve(found);
        else if (this.ending) reject(new Cut(this.#obituary(what)));
        else return;
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  #obituary(what: string): string {
    const got = this.responses.map((r) =>
      `${r.status} with ${r.length} bytes${r.whole ? "" : ", cut"}`
    );
    return `the connection ended (${this.ending?.how}) before ${what}; ` +
      `it brought ${got.join("; ") || "no response"}`;
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }

  #received(data: Buffer): void {
    this.lastByteAt = performance.now();
    this.#pending = this.#pending.length
      ? Buffer.concat([this.#pending, data])
      : data;
    while (this.#pending.length > 0) {
      const before = this.#pending.length;
      if (this.#body) this.#readBody(this.#body);
      else this.#readHead();
      if (this.#pending.length === before) break;
    }
    this.#changed();
  }

  #readHead(): void {
    const end = this.#pending.indexOf("\r\n\r\n");
    if (end < 0) return;
    const [first = "", ...lines] = this.#pending.subarray(0, end).toString()
      .split("\r\n");
    this.#pending = this.#pending.subarray(end + 4);
    const status = Number(first.split(" ")[1]);
    if (status === 100) return;
    const headers = new Map(lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }));
    const response: RawResponse = {
      status,
      headers,
      chunks: [],
      length: 0,
      whole: false,
      headAt: performance.now(),
      lastByteAt: performance.now(),
    };
    this.responses.push(response);
    this.#body = new Body(response);
    this.#settleBody();
  }

  #readBody(body: Body): void {
    this.#pending = body.take(this.#pending);
    body.response.lastByteAt = performance.now();
    this.#settleBody();
  }

  #settleBody(): void {
    if (this.#body?.response.whole) this.#body = undefined;
  }

  #endOfStream(how: Ending["how"]): void {
    if (how === "fin" && this.#body?.framing === "until-close") {
      this.#body.response.whole = true;
    }
  }
}

/** Takes one response's body off the wire, however it is framed. */
class Body {
  readonly framing: "length" | "chunked" | "until-close";
  readonly response: RawResponse;
  /** Bytes left of the body, or of the current chunk and its line end. */
  #left = 0;

  constructor(response: RawResponse) {
    this.response = response;
    const length = response.headers.get("content-length");
    const bodiless = response.status === 204 || response.status === 304;
    if (length !== undefined || bodiless) {
      this.framing = "length";
      this.#left = bodiless ? 0 : Number(length);
      response.whole = this.#left === 0;
    } else if (response.headers.get("transfer-encoding") === "chunked") {
      this.framing = "chunked";
    } else this.framing = "until-close";
  }

  /** Returns what it could not use (yet). */
  take(data: Buffer): Buffer {
    if (this.framing === "until-close") return this.#keep(data, data.length);
    if (this.framing === "length") {
      const rest = this.#keep(data, Math.min(this.#left, data.length));
      this.#left -= data.length - rest.length;
      this.response.whole = this.#left === 0;
      return rest;
    }
    return this.#takeChunked(data);
  }

  #takeChunked(data: Buffer): Buffer {
    while (data.length > 0 && !this.response.whole) {
      if (this.#left === 0) {
        const end = data.indexOf("\r\n");
        if (end < 0) return data;
        const size = parseInt(data.subarray(0, end).toString(), 16);
        // The last chunk is empty; trailers are not expected, only their end.
        if (size === 0 && data.length < end + 4) return data;
        this.response.whole = size === 0;
        data = data.subarray(end + (size === 0 ? 4 : 2));
        this.#left = size === 0 ? 0 : size + 2;
      } else {
        const wanted = Math.max(0, this.#left - 2);
        const taken = Math.min(wanted, data.length);
        data = this.#keep(data, taken);
        this.#left -= taken;
        const lineEnd = this.#left <= 2 ? Math.min(this.#left, data.length) : 0;
        data = data.subarray(lineEnd);
        this.#left -= lineEnd;
      }
    }
    return data;
  }

  #keep(data: Buffer, count: number): Buffer {
    if (count > 0) {
      this.response.chunks.push(data.subarray(0, count));
      this.response.length += count;
    }
    return data.subarray(count);
  }
}
