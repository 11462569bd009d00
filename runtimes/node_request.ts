import { Buffer } from "node:buffer";
import * as http from "node:http";
import type { Socket } from "node:net";

export const kUpgrade = Symbol("upgrade");
export const kHead = Symbol("head");
const kBody = Symbol("body");

/** A chunk of fewer bytes is small; so many small ones a body may have ... */
const SMALL = 1_024;
const MOST_SMALL = 64;
/** ... before they are joined to parts of this size. */
const PART = 16_384;
/** After so many chunks everybody else has a turn. */
const PER_TURN = 4_096;

/** Of a body in many small chunks. */
interface Chunks {
  count: number;
  part: Buffer | undefined;
  used: number;
  /** Its socket is not read; "asked" where somebody would have it read. */
  rest: "rests" | "asked" | undefined;
}

/**
 * Node would hand over the connection of any request that asks for an upgrade,
 * with the request's body unread in it. Here all are served as if they had not
 * asked (RFC 9110, 7.8), until the app makes a WebSocket of one.
 */
export const { IncomingMessage } = {
  IncomingMessage: class extends http.IncomingMessage {
    // Not a private field: the constructor of the base class sets `upgrade`.
    declare [kUpgrade]: "asked" | "granted" | undefined;
    declare [kHead]: Buffer | undefined;
    declare [kBody]: Chunks | undefined;

    get upgrade(): boolean {
      return this[kUpgrade] === "granted";
    }
    set upgrade(upgrade: boolean) {
      if (upgrade) this[kUpgrade] = "asked";
    }

    /**
     * Node hands over each chunk by itself, of one byte too, and reads a socket up
     * to 32 times in a turn: 75,000 such chunks, on their way through two streams,
     * held everybody else for 0.4 s. It reads no more where the answer is false.
     */
    override push(chunk: Buffer | null): boolean {
      if (chunk === null || chunk.length >= SMALL) {
        if (this[kBody]?.used) flush(this);
        return super.push(chunk);
      }
      const body = this[kBody] ??= newChunks();
      const goesOn = ++body.count <= MOST_SMALL
        ? super.push(chunk)
        : join(this, body, chunk);
      if (!goesOn || body.count % PER_TURN > 0) return goesOn;
      if (!body.rest) setImmediate(endRest, this, body);
      body.rest ??= "rests";
      return false;
    }

    override _read(size: number): void {
      if (this[kBody]?.rest) this[kBody].rest = "asked";
      else super._read(size);
    }
  },
};
export type Request = InstanceType<typeof IncomingMessage>;

const newChunks = (): Chunks => ({
  count: 0,
  part: undefined,
  used: 0,
  rest: undefined,
});

/** Whether there may be more. */
function join(request: Request, body: Chunks, chunk: Buffer): boolean {
  const goesOn = body.used + chunk.length <= PART || flush(request);
  body.part ??= Buffer.allocUnsafeSlow(PART);
  // What comes in this turn; the one that Node parses ends before.
  if (body.used === 0) setImmediate(flushAtLast, request);
  chunk.copy(body.part, body.used);
  body.used += chunk.length;
  return goesOn;
}

/** Whether there may be more. */
function flush(request: Request): boolean {
  const body = request[kBody]!;
  const { part, used } = body;
  body.part = undefined;
  body.used = 0;
  return used === 0 ||
    http.IncomingMessage.prototype.push.call(request, part!.subarray(0, used));
}

function flushAtLast(request: Request): void {
  if (request.complete || request.destroyed) return;
  if (!flush(request)) request.socket.pause();
}

function endRest(request: Request, body: Chunks): void {
  const isAsked = body.rest === "asked";
  body.rest = undefined;
  if (request.complete) return;
  if (isAsked) request._read(0);
  // Of what nobody reads, Node keeps so much at hand.
  else if (request.readableLength < request.readableHighWaterMark) {
    request.socket.resume();
  }
}

/** What a request is answered that no app should see; undefined for all others. */
export function refusals(): (request: Request) => 400 | 505 | undefined {
  /** The last Host found good: nearly all requests bring the same. */
  let good = "localhost";
  return (request) => {
    const { rawHeaders, method, httpVersionMajor } = request;
    // Node's parser lets HTTP/0.9 and HTTP/2.0 pass in a line of text.
    if (httpVersionMajor !== 1) return 505;
    if (method === "CONNECT" && request[kUpgrade] !== undefined) return 400;
    let host: string | undefined;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i]!;
      if (name.length !== 4) continue;
      if (name !== "Host" && name.toLowerCase() !== "host") continue;
      // Two of them say two things.
      if (host !== undefined) return 400;
      host = rawHeaders[i + 1];
    }
    // Without one it is HTTP/1.0; Node sees to that.
    if (host === undefined || host === good) return undefined;
    // It becomes a part of the URL.
    if (!URL.canParse(`http://${host}`)) return 400;
    good = host;
  };
}

/** What Node parses holds this request alone, and what came behind it. */
export function keepHead(request: Request): void {
  const { parser } = request.socket as Socket & {
    parser?: { getCurrentBuffer?(): Buffer };
  };
  const packet = parser?.getCurrentBuffer?.();
  const end = packet?.indexOf("\r\n\r\n") ?? -1;
  if (end >= 0) request[kHead] = packet!.subarray(end + 4);
}

export function asksForWebSocket(request: Request): boolean {
  return request[kUpgrade] !== undefined &&
    request.headers.upgrade?.toLowerCase() === "websocket";
}

/** Whether it is all that RFC 6455 asks of the request for a WebSocket. */
export function isHandshake(request?: http.IncomingMessage): boolean {
  if (!(request instanceof IncomingMessage)) return false;
  const { method, headers, httpVersion } = request;
  return request[kUpgrade] === "asked" && asksForWebSocket(request) &&
    method === "GET" &&
    httpVersion === "1.1" && headers["sec-websocket-version"] === "13" &&
    /^[+/0-9a-z]{22}==$/i.test(headers["sec-websocket-key"] ?? "");
}

/**
 * The rest of a request that stands in the way of the connection's next. A body
 * that is being read directly (as `text()` and `json()` do) flows by itself; one
 * that was begun as a stream pauses where its reader has left it. Then the rest
 * is thrown away as it comes, and the reader told, should there be one: what it
 * has got is not the whole.
 */
export function discardRest(request: http.IncomingMessage): void {
  const discard = () => {
    if (request.listenerCount("error") > 0) {
      request.emit(
        "error",
        new Error("The response went out before the body."),
      );
    }
    request.removeAllListeners("data");
    request.resume();
  };
  if (request.readableFlowing === false) discard();
  else request.once("pause", discard);
}
