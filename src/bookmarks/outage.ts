import type { Log } from "#lastcall";

/**
 * Says once that the database is out of reach, and once that it is back, and not
 * for each request that is turned away.
 */
export class Outage {
  #goesOn = false;

  constructor(private readonly log: Log) {}

  seen(reason: string): void {
    if (this.#goesOn) return;
    this.#goesOn = true;
    this.log({ level: "warn", message: "database unavailable", reason });
  }

  over(): void {
    if (!this.#goesOn) return;
    this.#goesOn = false;
    this.log({ level: "info", message: "database available again" });
  }
}
