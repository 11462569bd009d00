import { ResponseReader } from "./response_reader.js";

/** @import { Clock } from "./clock.js" */
/** @import { Evidence } from "./fate.js" */

/**
 * What a connection needs of a `net.Socket` that allows half-open connections.
 *
 * @typedef {object} Wire
 * @property {(event: string, listener: (arg: any) => void) => unknown} on
 * @property {(text: string | Uint8Array, written: (error?: Error | null) => void) => unknown} write
 * @property {() => unknown} destroy
 */

/** How long a reset may take to follow a clean end, beside one round trip. */
const RESET_FOLLOWS = 20;

/**
 * One connection, for one request at a time, that hides nothing: what was sent,
 * what came, and how the end came.
 */
export class Connection {
  /** @type {number | undefined} */
  closedAt;
  /** Who ended it: the drill after an answer that said so, or the server. */
  closedBy = "drill";
  /** Answers it has brought. */
  answers = 0;

  #wire;
  #clock;
  #closed;
  #connectMs = 0;
  #isOpen = false;
  /** @type {{ text: string | Uint8Array, reader: ResponseReader, evidence: Evidence, settle: (e: Evidence) => void, cancel: () => void } | undefined} */
  #exchange;
  /** A clean end has come in place of an answer; why is being found out. */
  #probing = false;

  /**
   * @param {Wire} wire that is connecting
   * @param {Clock} clock
   * @param {() => void} closed is called once, when it can be used no more
   */
  constructor(wire, clock, closed) {
    this.#wire = wire;
    this.#clock = clock;
    this.#closed = closed;
    this.openedAt = clock.now();
    wire.on("connect", () => this.#connected());
    wire.on("data", (data) => this.#received(data));
    wire.on("end", () => this.#ended());
    wire.on("error", (error) => this.#failed(String(error?.code ?? error)));
    // Every way to the end has been seen before; this is for one that was not.
    wire.on("close", () => this.#failed("closed"));
  }

  /**
   * Sends a request; settles with what became of it, and never rejects.
   *
   * @param {string} method
   * @param {string | Uint8Array} text
   * @param {number} deadline
   * @returns {Promise<Evidence>}
   */
  send(method, text, deadline) {
    return new Promise((settle) => {
      this.#exchange = {
        text,
        reader: new ResponseReader(method),
        evidence: {
          earlier: this.answers,
          connectMs: this.#connectMs,
          sent: false,
          bytes: 0,
          ending: "timeout",
          endedAt: 0,
        },
        settle,
        cancel: this.#clock.after(
          Math.max(0, deadline - this.#clock.now()),
          () => this.#finish("timeout"),
        ),
      };
      if (this.#isOpen) this.#write();
    });
  }

  /** Ends a connection that nobody waits for. */
  close() {
    this.#gone("drill");
  }

  #connected() {
    this.#isOpen = true;
    this.#connectMs = this.#clock.now() - this.openedAt;
    this.#write();
  }

  #write() {
    const exchange = this.#exchange;
    if (!exchange) return;
    exchange.evidence.connectMs = this.#connectMs;
    exchange.evidence.writtenAt = this.#clock.now();
    this.#wire.write(exchange.text, (error) => {
      if (!error) exchange.evidence.sent = true;
    });
  }

  /** @param {Uint8Array} data */
  #received(data) {
    const reader = this.#exchange?.reader;
    // Said without being asked: nothing to count on.
    if (!reader) return this.#gone("server");
    reader.push(data);
    if (reader.broken) this.#finish("noise");
    else if (reader.whole) this.#finish("answer");
  }

  #ended() {
    const exchange = this.#exchange;
    if (!exchange) return this.#gone("server");
    exchange.reader.end();
    exchange.evidence.endedAt = this.#clock.now();
    if (exchange.reader.whole) return this.#finish("answer");
    if (exchange.reader.bytes > 0) return this.#finish("end");

    // Whoever writes to a connection that was reset is told so.
    this.#probing = true;
    exchange.cancel();
    exchange.cancel = this.#clock.after(
      RESET_FOLLOWS + exchange.evidence.connectMs,
      () =>
        this.#wire.write("\r\n", (error) => {
          if (!this.#probing) return;
          exchange.evidence.unread = Boolean(error);
          this.#finish("end");
        }),
    );
  }

  /** @param {string} code */
  #failed(code) {
    const exchange = this.#exchange;
    if (!exchange) return this.#gone("server");
    if (this.#probing) {
      exchange.evidence.unread = true;
      return this.#finish("end");
    }
    if (!this.#isOpen) exchange.evidence.unconnected = code;
    this.#finish("reset");
  }

  /** @param {Evidence["ending"]} ending */
  #finish(ending) {
    const exchange = this.#exchange;
    if (!exchange) return;
    const { reader, evidence, settle, cancel } = exchange;
    cancel();
    this.#exchange = undefined;
    evidence.ending = ending;
    evidence.bytes = reader.bytes;
    if (!this.#probing) evidence.endedAt = this.#clock.now();
    if (ending === "answer") {
      this.answers++;
      if (reader.status !== undefined) evidence.status = reader.status;
      if (reader.said) evidence.said = reader.said.trim();
    } else if (ending === "noise") evidence.noise = reader.broken;

    if (ending !== "answer" || !reader.keepAlive) {
      const theirs = ending === "end" || ending === "reset";
      this.#gone(theirs ? "server" : "drill", evidence.endedAt);
    }
    settle(evidence);
  }

  /** @param {"drill" | "server"} by @param {number} at */
  #gone(by, at = this.#clock.now()) {
    if (this.closedAt !== undefined) return;
    this.closedAt = at;
    this.closedBy = by;
    this.#wire.destroy();
    this.#closed();
  }
}
