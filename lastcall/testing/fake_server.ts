import type { CutRequest, Drainable } from "../shutdown.ts";

/** A server whose moments the test decides; it notes what is asked of it. */
export class FakeServer implements Drainable {
  readonly calls: string[] = [];
  requests: CutRequest[] = [];
  completed = 0;
  sockets = 0;
  /** Call to let `close` resolve: the last byte is out. */
  drained!: () => void;
  closeFails: Error | undefined;
  readonly #drained = new Promise<void>((resolve) => this.drained = resolve);

  constructor(readonly name = "server", readonly log: string[] = []) {}

  inFlight(): CutRequest[] {
    return this.requests;
  }

  countAnswers(): void {
    this.#note("countAnswers");
  }

  openSockets(): number {
    return this.sockets;
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
