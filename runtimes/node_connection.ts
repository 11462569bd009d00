// One connection of Node's, and what may be done with it.

import type * as http from "node:http";
import { Socket } from "node:net";
import type { CoarseClock } from "./coarse_clock.ts";
import { discardRest } from "./node_request.ts";
import type { InFlight } from "./runtime.ts";
import { HALF_HEAD_GRACE, LINGER, UNUSED_GRACE } from "./times.ts";

/** How many pipelined requests may wait before no more are read. */
const PIPELINED = 256;

/** How many requests of a connection are handled in one turn. */
const PER_TURN = 16;

export const kConnection = Symbol("connection");

/** One client's share of a turn of the event loop. */
export interface Share {
  socket: Socket;
  /** Its requests since the last turn, or a few more. */
  inTurn: number;
  /** Those that are handled in a later turn; undefined for none. */
  later: (() => void)[] | undefined;
}

export interface Connection extends Share {
  /** What is not yet out: the latest response, and pipelined ones before it. */
  response: http.ServerResponse | undefined;
  earlier: http.ServerResponse[];
  /** Said that the connection is kept, before the drain began. */
  promised: http.ServerResponse | undefined;
  /** When its last request came; 0 before the first. */
  requestAt: number;
  /** When its last response was out. */
  idleSince: number;
}

export type Tracked = Socket & { [kConnection]: Connection };

export function newConnection(socket: Socket): Connection {
  const connection = {
    socket,
    response: undefined,
    earlier: [],
    inTurn: 0,
    later: undefined,
    promised: undefined,
    requestAt: 0,
    idleSince: 0,
  };
  return (socket as Tracked)[kConnection] = connection;
}

/**
 * Node stops to read where too many bytes wait in responses, but 50,000
 * requests on one connection, none answered yet, took 0.6 GB. So each response
 * that waits counts as some bytes.
 */
export function wait(
  { earlier }: Connection,
  response: http.ServerResponse,
): void {
  earlier.push(response);
  countPending(response, 1);
}

/** Its answer is out; it may be one that waited. */
export function answered(
  connection: Connection,
  response: http.ServerResponse,
): void {
  if (connection.response === response) connection.response = undefined;
  else {
    const { earlier } = connection;
    earlier.splice(earlier.indexOf(response), 1);
    countPending(response, -1);
  }
}

export function refuse(response: http.ServerResponse, status: number): void {
  const headers = { "Connection": "close", "Content-Length": 0 };
  response.writeHead(status, headers).end();
}

/** Node's own count of what waits in responses, and its way to stop reading. */
function countPending(response: http.ServerResponse, sign: 1 | -1): void {
  const { _onPendingData, req: { socket } } = response as
    & http.ServerResponse
    & { _onPendingData?(bytes: number): void };
  _onPendingData?.(sign * Math.ceil(socket.writableHighWaterMark / PIPELINED));
}

/**
 * Whether this connection has had its share of this turn. The answers would not
 * tell: behind each body Node lets them go out.
 */
export function hasHadItsTurn(share: Share): boolean {
  if (++share.inTurn === PER_TURN) setImmediate(turned, share);
  return share.later !== undefined || share.inTurn > PER_TURN;
}

function turned(share: Share): void {
  share.inTurn = 0;
}

/**
 * Node hands over at once all that one packet brings, 1,800 requests and more:
 * a client that pipelines without end, or opens streams and resets them, would
 * keep all others waiting.
 */
export function handleLater(share: Share, handle: () => void): void {
  if (share.later) {
    share.later.push(handle);
    return;
  }
  const later = share.later = [handle];
  const turn = () => {
    if (share.socket.destroyed) return;
    for (const handle of later.splice(0, PER_TURN)) handle();
    if (later.length > 0) setImmediate(turn);
    else share.later = undefined;
  };
  setImmediate(turn);
}

/**
 * A socket closed while its client still sends answers the client with a reset,
 * and the reset eats the response: @hono/node-server's 2 MB became 0 bytes, for
 * it closes 500 ms after an answer. So from now on closing sends our end first,
 * and what still comes is read and thrown away: while serving for as long as a
 * request may take (Node looks after that), while draining for `LINGER`.
 */
export function outlive(
  { socket }: Connection,
  request: http.IncomingMessage,
  isClosing: () => boolean,
): void {
  discardRest(request);
  let lingering: NodeJS.Timeout | undefined;
  // When the request has taken too long, Node would answer it again.
  socket.write = () => false;
  socket.destroySoon = () => {
    if (request.complete || socket.destroyed) {
      Socket.prototype.destroySoon.call(socket);
      return;
    }
    if (!socket.writableEnded) {
      socket.end();
      request.on("end", () => socket.destroy());
    }
    if (!isClosing() || lingering) return;
    lingering = setTimeout(() => socket.destroy(), LINGER);
    socket.on("close", () => clearTimeout(lingering));
  };
  // A client that goes on for longer is to make a new connection.
  const patience = setTimeout(() => socket.destroySoon(), LINGER);
  const over = () => {
    clearTimeout(patience);
    const shadowed: Partial<Socket> = socket;
    delete shadowed.write;
    delete shadowed.destroySoon;
    socket.off("close", over);
  };
  request.on("end", over);
  socket.on("close", over);
}

export function isIdle({ response, earlier }: Connection): boolean {
  return response === undefined && earlier.length === 0;
}

/** The last response of a connection says that it is the last, if it can. */
export function retire(connection: Connection): void {
  const { response, earlier } = connection;
  earlier.forEach(sayNothing);
  connection.promised = response?.headersSent ? response : undefined;
  if (response) sayClose(response);
}

/**
 * By shadowing writeHead, for a header set by the app beats `shouldKeepAlive`:
 * Hono's streamSSE sets `Connection: keep-alive` on each of its responses.
 */
export function sayClose(response: http.ServerResponse): void {
  if (response.headersSent || Object.hasOwn(response, "writeHead")) return;
  response.writeHead = function (status: number, ...rest: unknown[]) {
    sayNothing(response);
    const headers = { ...rest.find(isRecord) };
    for (const key of Object.keys(headers)) {
      if (key.toLowerCase() === "connection") delete headers[key];
    }
    return response.writeHead(status, { ...headers, connection: "close" });
  } as http.ServerResponse["writeHead"];
}

/** A request came in behind this one: it is not the last any more. */
function sayNothing(response: http.ServerResponse): void {
  delete (response as Partial<http.ServerResponse>).writeHead;
}

function isRecord(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null;
}

/**
 * How long an idle connection is left, once the closing has begun at `began`:
 *
 * | its state                                    | its grace         |
 * | -------------------------------------------- | ----------------- |
 * | half a request head has come                 | `HALF_HEAD_GRACE` |
 * | no request has come yet                      | `UNUSED_GRACE`    |
 * | its last response went out a short while ago | the idle grace    |
 * | it has been idle for longer                  | none              |
 */
export function graceOf(
  { socket, requestAt, idleSince }: Connection,
  clock: CoarseClock,
  idleGrace: number,
  began: number,
): number {
  if (requestAt === 0) {
    return socket.bytesRead > 0 ? HALF_HEAD_GRACE : UNUSED_GRACE;
  }
  return clock.isRecent(idleSince, idleGrace, began) ? idleGrace : 0;
}

/**
 * Nothing moved on this socket for a while. That is an idle connection's end,
 * and a client's that takes no more of its response; a slow handler and a quiet
 * stream are the app's own affair.
 */
export function letGo(socket: Socket): void {
  // HTTP/2 has none: node_http2.ts looks after its sessions.
  const connection = (socket as Partial<Tracked>)[kConnection];
  if (!connection) return;
  const stalled = socket.writableLength > 0;
  if (stalled || isIdle(connection)) socket.destroy();
  else socket.setTimeout(0);
}

export function openRequests(
  { response, earlier, requestAt }: Connection,
): InFlight[] {
  return [...earlier, ...response ? [response] : []].map(({ req }) => ({
    method: req.method ?? "",
    url: req.url ?? "",
    since: requestAt,
  }));
}

export function endIdle(connection: Connection): void {
  if (isIdle(connection)) end(connection);
}

export function end({ socket }: Connection): void {
  socket.destroySoon();
}
