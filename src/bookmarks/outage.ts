import type { Log } from "#lastcall";

/**
 * Says once that the database is out of reach, and once that it is back, and not
 * for each request that is turned away. While it goes or comes back some succeed
 * and some fail: what began before the last change does not make another.
 */
export class Outage {
  #goesOn = false;
  #changes = 0;

  constructor(private readonly log: Log) {}

  /** Of what begins now: for `seen` and `over`, where it may end late. */
  get moment(): number {
    return this.#changes;
  }

  seen(reason: string, moment = this.moment): void {
    if (this.#goesOn || moment !== this.#changes) return;
    this.#goesOn = true;
    this.#changes++;
    this.log({ level: "warn", message: "database unavailable", reason });
  }

  over(moment = this.moment): void {
    if (!this.#goesOn || moment !== this.#changes) return;
    this.#goesOn = false;
    this.#changes++;
    this.log({ level: "info", message: "database available again" });
  }
}
