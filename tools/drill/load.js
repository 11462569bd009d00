import { Connection } from "./connection.js";
import { judge, ownTrouble } from "./fate.js";
import { inTurn, requestBytes } from "./mix.js";
import { Problem } from "./problem.js";

/** @import { Clock } from "./clock.js" */
/** @import { Wire } from "./connection.js" */
/** @import { Fate } from "./fate.js" */
/** @import { Route } from "./mix.js" */

/**
 * One request of the drill. Times in milliseconds of the drill's clock.
 *
 * @typedef {object} Sent
 * @property {number} due when it was meant to go: latency counts from here
 * @property {number} began when it was given a connection
 * @property {number} ended
 * @property {number} route index into the mix
 * @property {number} connection index into the connections; -1 without one
 * @property {number} nth of its connection, from 1
 * @property {number} status 0 without a whole answer
 * @property {Fate} fate
 * @property {string} cause
 */

/**
 * @typedef {object} LoadOptions
 * @property {number} rate requests a second
 * @property {number} connections
 * @property {Route[]} mix
 * @property {number} timeout in milliseconds
 * @property {string} host for the Host header
 * @property {[name: string, value: string][]} [headers]
 * @property {Uint8Array | undefined} [body]
 * @property {() => Wire} connect
 * @property {Clock} clock
 */

/** @typedef {{ due: number, route: number }} Due */

/**
 * Holds one connection at a time.
 *
 * @typedef {object} Slot
 * @property {number} index
 * @property {Connection | undefined} connection
 * @property {number} id of the connection
 * @property {boolean} busy
 */

/**
 * An open-loop load: the moments of sending are fixed in advance and wait for
 * nobody, and latency counts from them. A server that stalls is charged for
 * every request that it kept waiting, not for one.
 */
export class Load {
  /** Those that are over, in the order in which they were. */
  /** @type {Sent[]} */
  requests = [];
  /** @type {{ slot: number, connection: Connection }[]} */
  connections = [];

  /** @type {(problem: Problem) => void} */
  #giveUp = () => {};
  /** Rejects where the drill itself is at fault. */
  /** @type {Promise<never>} */
  trouble = new Promise((_, reject) => this.#giveUp = reject);

  #options;
  /** @type {Slot[]} */
  #slots;
  #next = 0;
  /** @type {Due[]} */
  #waiting = [];
  #open = 0;
  #hasSpoken = false;
  #turns;
  #requests;
  /** @type {(() => void) | undefined} */
  #cancel;
  /** @type {(() => void) | undefined} */
  #settled;

  /** @param {LoadOptions} options */
  constructor(options) {
    this.#options = options;
    this.#turns = inTurn(options.mix);
    const { host, headers, body } = options;
    this.#requests = options.mix.map((route) =>
      requestBytes(route, host, headers, body)
    );
    this.#slots = Array.from({ length: options.connections }, (_, index) => (
      { index, connection: undefined, id: -1, busy: false }
    ));
  }

  start() {
    const { clock, rate } = this.#options;
    const began = clock.now();
    let sent = 0;
    const dueAt = () => began + sent * 1000 / rate;
    const tick = () => {
      for (; dueAt() <= clock.now(); sent++) {
        this.#dispatch({ due: dueAt(), route: this.#turns.next().value ?? 0 });
      }
      this.#cancel = clock.after(Math.max(0, dueAt() - clock.now()), tick);
    };
    tick();
  }

  /** Sends no more; resolves when all that was sent is over. */
  /** @returns {Promise<void>} */
  async stop() {
    this.#cancel?.();
    if (this.#open > 0) {
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => this.#settled = resolve)
      );
    }
    for (const { connection } of this.#slots) connection?.close();
  }

  /** @param {Due} request */
  #dispatch(request) {
    this.#open++;
    // In turn, so that each of the connections is in use.
    const { length } = this.#slots;
    for (let i = 0; i < length; i++) {
      const slot = this.#slots[(this.#next + i) % length];
      if (!slot || slot.busy) continue;
      this.#next = (slot.index + 1) % length;
      this.#send(slot, request);
      return;
    }
    this.#waiting.push(request);
  }

  /** @param {Slot} slot @param {Due} request */
  async #send(slot, { due, route }) {
    const { clock, mix, timeout, connect } = this.#options;
    slot.busy = true;
    if (!slot.connection) {
      slot.id = this.connections.length;
      slot.connection = new Connection(connect(), clock, () => {
        slot.connection = undefined;
      });
      this.connections.push({ slot: slot.index, connection: slot.connection });
    }
    const { id, connection } = slot;
    const began = clock.now();
    const evidence = await connection.send(
      mix[route]?.method ?? "GET",
      this.#requests[route] ?? "",
      due + timeout,
    );
    const trouble = ownTrouble(evidence);
    if (trouble) {
      this.#cancel?.();
      return this.#giveUp(new Problem(trouble));
    }
    slot.busy = false;
    const { fate, cause } = judge(evidence);
    // The first one speaks for all: many may be wrong in the same way.
    const speaks = fate === "wrong status" && !this.#hasSpoken && evidence.said;
    if (speaks) this.#hasSpoken = true;
    this.#over({
      due,
      began,
      ended: evidence.endedAt,
      route,
      connection: id,
      nth: evidence.earlier + 1,
      status: evidence.status ?? 0,
      fate,
      cause: speaks ? `${cause}: ${JSON.stringify(speaks)}` : cause,
    });
    this.#serveWaiting(slot);
  }

  /** @param {Slot} slot */
  #serveWaiting(slot) {
    const { clock, timeout } = this.#options;
    for (;;) {
      const request = this.#waiting.shift();
      if (!request) return;
      const { due, route } = request;
      if (due + timeout > clock.now()) {
        this.#send(slot, request);
        return;
      }
      this.#over({
        due,
        began: clock.now(),
        ended: clock.now(),
        route,
        connection: -1,
        nth: 0,
        status: 0,
        fate: "timed out",
        cause: "all connections were busy",
      });
    }
  }

  /** @param {Sent} request */
  #over(request) {
    this.requests.push(request);
    if (--this.#open === 0) this.#settled?.();
  }
}
