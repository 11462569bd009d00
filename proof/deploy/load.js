// An open-loop HTTP/1.1 client: requests start when they are due, whatever
// became of the ones before. It hides nothing, so it is written on raw sockets:
// node:http would retry for us, and would not say at which byte it ended.

import net from "node:net";
import { seeded } from "../support/seeded.js";

/**
 * @typedef {object} Request
 * @property {number} weight
 * @property {string} method
 * @property {string} path
 * @property {string} [body]
 * @property {number} [expect] the status of its answer; 200 where it is not said
 */

/**
 * @typedef {"refused" | "reset before an answer" | "cut" | "timed out" | "5xx" | "another status"} FailureKind
 */

/**
 * A latency in milliseconds, or what went wrong.
 *
 * @typedef {number | { kind: FailureKind, kept: boolean, note: string }} Result
 */

/**
 * @typedef {object} Failure
 * @property {FailureKind} kind
 * @property {string} note
 * @property {string} request
 * @property {boolean} kept on a connection that had carried a request before
 * @property {number} at milliseconds since the load began
 */

/** One request in so many comes on a connection of its own. */
const ONE_SHOT = 0.2;
const TIMEOUT = 15_000;
/** Clients that keep their connection for their next request. */
const CLIENTS = 50;

export class Load {
  sent = 0;
  answered = 0;
  /** @type {Failure[]} */
  failures = [];
  /** @type {number[]} */
  latencies = [];
  #port;
  #mix;
  #perMs;
  #random;
  #began = 0;
  /**
   * The clients that wait, with their connection where it is still open: each
   * takes its turn, so that none is quiet for long.
   *
   * @type {{ socket: net.Socket | undefined }[]}
   */
  #waiting = Array.from({ length: CLIENTS }, () => ({ socket: undefined }));
  #open = 0;
  #stopped = false;
  #onDone = () => {};
  /** @type {NodeJS.Timeout | undefined} */
  #timer;
  /** @type {{ count: number, resolve: () => void }[]} */
  #awaited = [];

  /**
   * @param {{ port: number, rate: number, mix: Request[], seed: number }} options
   */
  constructor({ port, rate, mix, seed }) {
    this.#port = port;
    this.#perMs = rate / 1000;
    this.#random = seeded(seed);
    const total = mix.reduce((sum, { weight }) => sum + weight, 0);
    this.#mix = mix.map((request) => ({
      ...request,
      share: request.weight / total,
    }));
  }

  start() {
    this.#began = performance.now();
    this.#timer = setInterval(() => {
      const due = (performance.now() - this.#began) * this.#perMs;
      while (this.sent < due) this.#send();
    }, 5);
  }

  /** Resolves when so many requests have been sent. @param {number} count */
  reached(count) {
    return /** @type {Promise<void>} */ (new Promise((resolve) => {
      if (this.sent >= count) resolve();
      else this.#awaited.push({ count, resolve });
    }));
  }

  /** Sends no more, and resolves when all is answered or lost. */
  async stop() {
    clearInterval(this.#timer);
    this.#stopped = true;
    if (this.#open > 0) {
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => this.#onDone = resolve)
      );
    }
    for (const { socket } of this.#waiting) socket?.destroy();
  }

  /** How long a share of those answered took at most. @param {number} share */
  within(share) {
    const sorted = this.latencies.toSorted((a, b) => a - b);
    return Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
  }

  #send() {
    this.sent++;
    this.#awaited = this.#awaited.filter(({ count, resolve }) => {
      if (this.sent >= count) resolve();
      else return true;
    });
    let choice = this.#random();
    const request = this.#mix.find(({ share }) => (choice -= share) < 0) ??
      this.#mix[0];
    if (!request) throw new Error("There is no request to send.");
    const keep = this.#random() >= ONE_SHOT;
    const client = keep
      ? this.#waiting.shift() ?? { socket: undefined }
      : undefined;
    const kept = client?.socket;
    const port = this.#port;
    this.#open++;
    new Exchange(
      kept ?? net.connect({ port, host: "127.0.0.1", noDelay: true }),
      request,
      { keep, kept: kept !== undefined },
      (result, socket) => {
        if (typeof result === "number") {
          this.answered++;
          this.latencies.push(result);
        } else {
          const at = Math.round(performance.now() - this.#began);
          const what = `${request.method} ${request.path}`;
          this.failures.push({ ...result, request: what, at });
        }
        if (client) this.#wait(socket);
        if (--this.#open === 0) this.#onDone();
      },
    );
  }

  /** @param {net.Socket | undefined} socket */
  #wait(socket) {
    const client = { socket };
    this.#waiting.push(client);
    // Whoever is at the other end may close it meanwhile; that is no failure.
    const forget = () => {
      client.socket = undefined;
      socket?.destroy();
    };
    socket?.once("end", forget).once("error", forget);
    if (this.#stopped) forget();
  }
}

/** One request and what came of it. */
class Exchange {
  #socket;
  #request;
  #how;
  #done;
  #began = performance.now();
  #text = "";
  #connected;
  /** @type {NodeJS.Timeout} */
  #timer;

  /**
   * @param {net.Socket} socket
   * @param {Request} request
   * @param {{ keep: boolean, kept: boolean }} how
   * @param {(result: Result, socket?: net.Socket) => void} done
   *   is given the connection too if it can be kept
   */
  constructor(socket, request, how, done) {
    this.#socket = socket;
    this.#request = request;
    this.#how = how;
    this.#done = done;
    this.#timer = setTimeout(() => this.#fail("timed out"), TIMEOUT);
    this.#connected = how.kept;
    if (how.kept) socket.removeAllListeners();
    socket.once("connect", () => this.#connected = true);
    socket.on("data", (data) => this.#received(data.toString("latin1")));
    socket.on("end", () => this.#lost());
    socket.on("error", () => this.#lost());
    const { method, path, body } = request;
    const lines = [
      `${method} ${path} HTTP/1.1`,
      "Host: rolling.test",
      ...how.keep ? [] : ["Connection: close"],
      ...body === undefined ? [] : [
        "Content-Type: application/json",
        `Content-Length: ${body.length}`,
      ],
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n${body ?? ""}`);
  }

  /** @param {string} text */
  #received(text) {
    this.#text += text;
    const end = this.#text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#text.slice(0, end).toLowerCase();
    const body = this.#text.slice(end + 4);
    const length = /\r\ncontent-length: *(\d+)/.exec(head)?.[1];
    const whole = length !== undefined
      ? body.length >= Number(length)
      // Nobody pipelines here, and no body of ours contains this.
      : body.endsWith("0\r\n\r\n");
    if (!whole) return;

    const status = Number(head.split(" ")[1]);
    const keep = this.#how.keep && !/\r\nconnection: *close/.test(head);
    if (status >= 500) this.#fail("5xx", ` (${status})`);
    else if (status !== (this.#request.expect ?? 200)) {
      this.#fail("another status", ` (${status})`);
    } else {
      this.#settle(performance.now() - this.#began, keep);
    }
  }

  #lost() {
    if (this.#text !== "") this.#fail("cut");
    else if (!this.#connected) this.#fail("refused");
    else this.#fail("reset before an answer");
  }

  /** @param {FailureKind} kind */
  #fail(kind, note = "") {
    this.#settle({ kind, kept: this.#how.kept, note }, false);
  }

  /** @param {Result} result @param {boolean} keep */
  #settle(result, keep) {
    clearTimeout(this.#timer);
    this.#socket.removeAllListeners();
    // Nobody listens any more, and a late error must not end the program.
    this.#socket.on("error", () => {});
    if (!keep) this.#socket.destroy();
    this.#done(result, keep ? this.#socket : undefined);
  }
}
