import {
  type FetchHandler,
  type Host,
  type InFlight,
  type Limits,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
  type Runtime,
} from "../../runtimes/runtime.ts";

/** A runtime without sockets or signals of its own. */
export class FakeRuntime implements Runtime {
  readonly name = "node";
  version = "20.1.0";
  readonly oldest = "20.0.0";
  readonly signals = new Map<string, Set<() => void>>();
  readonly uncaught = new Set<(error: unknown) => void>();
  readonly listeners: FakeListener[] = [];
  exitCode: number | undefined;
  /** What the last `listen` was given. */
  fetch: FetchHandler | undefined;
  limits: Limits | undefined;
  /** What the next `listen` rejects with. */
  failure: ListenFailure | undefined;
  /** What `listen` waits for. */
  ready: Promise<void> = Promise.resolve();

  readonly isTerminal = false;
  readonly hasColors = false;
  readonly stdout = { write() {} };
  readonly stderr = { write() {} };
  env(): undefined {}

  args(): string[] {
    return [];
  }

  eventLoopDelay(): undefined {}

  async listen(host: Host, options: ListenOptions): Promise<Listener> {
    await this.ready;
    this.fetch = host.fetch;
    this.limits = options.limits;
    if (this.failure) throw new ListenError(this.failure, new Error("E-CODE"));
    const listener = new FakeListener(host, options);
    this.listeners.push(listener);
    return listener;
  }

  onSignal(signal: string, listener: () => void): () => void {
    const listeners = this.signals.get(signal) ?? new Set();
    this.signals.set(signal, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  onUncaught(listener: (error: unknown) => void): () => void {
    this.uncaught.add(listener);
    return () => this.uncaught.delete(listener);
  }

  expectManyListeners(): void {}

  setExitCode(code: number): void {
    this.exitCode = code;
  }

  exit(): Promise<never> {
    throw new Error("the engine never exits the process");
  }

  raise(signal: string): void {
    for (const listener of this.signals.get(signal) ?? []) listener();
  }

  /** How many listeners are left anywhere. */
  get heard(): number {
    return [this.uncaught, ...this.signals.values()]
      .reduce((sum, { size }) => sum + size, 0);
  }
}

export class FakeListener implements Listener {
  readonly hostname: string;
  readonly port: number;
  requests: InFlight[] = [];
  closed = false;
  wasCut = false;

  readonly #host: Host;

  constructor(host: Host, { hostname, port }: ListenOptions) {
    this.#host = host;
    this.hostname = hostname;
    this.port = port || 4321;
  }

  inFlight(): InFlight[] {
    return this.requests;
  }

  countAnswers(): void {}

  answered(): number {
    return 0;
  }

  close(): Promise<void> {
    this.closed = true;
    this.#host.stopped();
    void this.#host.closeSockets();
    return this.requests.length ? new Promise(() => {}) : Promise.resolve();
  }

  cut(): Promise<void> {
    this.wasCut = true;
    return Promise.resolve();
  }
}
