import type { InFlight, Listener } from "../../runtimes/runtime.ts";

/** A server whose moments the test decides; it notes what is asked of it. */
export class FakeServer implements Listener {
  readonly hostname = "localhost";
  readonly port = 0;
  readonly calls: string[] = [];
  requests: InFlight[] = [];
  completed = 0;
  readonly sockets = { size: 0, cut() {} };
  /** Call to let `close` resolve: the last byte is out. */
  drained!: () => void;
  closeFails: Error | undefined;
  readonly #drained = new Promise<void>((resolve) => this.drained = resolve);

  constructor(readonly name = "server", readonly log: string[] = []) {}

  inFlight(): InFlight[] {
    return this.requests;
  }

  countAnswers(): void {
    this.#note("countAnswers");
  }

  answered(): number {
    return this.completed;
  }

  close(idleGrace: number): Promise<void> {
    this.#note(`close ${idleGrace}`);
    if (this.closeFails) return Promise.reject(this.closeFails);
    return this.#drained;
  }

  cut(): Promise<void> {
    this.#note("cut");
    this.drained();
    return Promise.resolve();
  }

  #note(call: string): void {
    this.calls.push(call);
    this.log.push(`${this.name} ${call}`);
  }
}
