import type { ExecutionContext } from "hono";
import type {
  Limits,
  Listener,
  ListenOptions,
  Runtime,
  Tls,
} from "../runtimes/runtime.ts";
import { LONGEST_WAIT } from "../runtimes/times.ts";
import { jsonLogTo } from "./log.ts";
import { logError, watchProcess } from "./process.ts";
import { ShutdownController } from "./shutdown.ts";
import { StartError, whyNotListening } from "./start_error.ts";

export interface ServeOptions {
  /** Default "0.0.0.0": every IPv4 address of the machine. */
  hostname?: string;
  /** Default 3000; 0 takes any free port. */
  port?: number;
  /** The path of a Unix socket, in place of `hostname` and `port`. */
  unix?: string | undefined;
  /** HTTPS, and HTTP/2 for clients that want it: PEM files, or their content. */
  tls?: Tls | undefined;
  /** Lets a new process take over the port while this one drains. */
  reusePort?: boolean;
  /** What a client may take of this server; see `defaultLimits`. */
  limits?: Partial<Limits>;
  /** Default: a new controller, found at `server.shutdown`. */
  shutdown?: ShutdownController;
  /**
   * Which signals begin the shutdown. Default SIGINT, SIGTERM, SIGHUP, SIGBREAK.
   * With none, uncaught errors do not either: somebody else begins it. Under `run`,
   * which listens before there is a server, these have been chosen there.
   */
  signals?: string[];
}

export interface Server {
  /** An address that works on this machine, for people and log lines. */
  readonly url: string;
  readonly hostname: string;
  readonly port: number;
  /** Name and version, as in "deno 2.9.6". */
  readonly runtime: string;
  readonly shutdown: ShutdownController;
}

/** Which runtime knows which of these: docs/limits.md. */
export const defaultLimits: Limits = {
  headTimeout: 10_000,
  requestTimeout: 60_000,
  // Balancers keep a connection for 60 s: whoever reuses one must not find that
  // we closed it in that moment.
  idleTimeout: 75_000,
  writeTimeout: 60_000,
  headSize: 16_384,
  connections: Infinity,
  messageSize: 1_048_576,
  sendBuffer: 4_194_304,
};

/** A Hono app, or whatever has a `fetch` like one. */
export interface App {
  fetch(
    request: Request,
    // As the runtime hands it over.
    // deno-lint-ignore no-explicit-any
    env?: any,
    context?: ExecutionContext,
  ): Response | Promise<Response>;
}

/** Listens, and puts the server under its controller's care. */
export async function serve(
  runtime: Runtime,
  app: App,
  options: ServeOptions,
): Promise<Server> {
  const {
    shutdown = new ShutdownController({ log: jsonLogTo(runtime.stdout) }),
  } = options;
  watchProcess(runtime, shutdown, options.signals);
  refuseIfClosing(shutdown);

  const wanted: ListenOptions = {
    hostname: options.hostname ?? "0.0.0.0",
    port: options.port ?? 3000,
    unix: options.unix,
    tls: options.tls,
    reusePort: options.reusePort ?? false,
    limits: timed({ ...defaultLimits, ...options.limits }),
  };
  const sockets = shutdown.newSockets();
  // What Hono's users find as `c.executionCtx`.
  const context: ExecutionContext = {
    waitUntil: (work) => shutdown.waitUntil(work),
    passThroughOnException() {},
    props: {},
  };
  let listener: Listener;
  try {
    listener = await runtime.listen({
      fetch: (request, env) => app.fetch(request, env, context),
      opened: (socket) => sockets.opened(socket),
      failed: (what, error) => logError(shutdown, `${what} failed`, error),
      lost(cause) {
        logError(shutdown, "listener lost", cause);
        const message = "listening again";
        return () => shutdown.log({ level: "info", message });
      },
      stopped() {
        const url = urlOf(wanted, listener.port);
        shutdown.log({ level: "info", message: "listener closed", url });
      },
      closeSockets: () => sockets.close(),
    }, wanted);
  } catch (error) {
    throw whyNotListening(error, wanted);
  }
  if (shutdown.signal.aborted) {
    await listener.cut();
    refuseIfClosing(shutdown);
  }
  shutdown.attach(listener, sockets);

  const { hostname, port } = listener;
  const url = urlOf(wanted, port);
  const name = `${runtime.name} ${runtime.version}`;
  const message = "server listening";
  shutdown.log({ level: "info", message, url, runtime: name });
  return { url, hostname, port, runtime: name, shutdown };
}

/** For ever, as far as a timer can count. */
function timed(limits: Limits): Limits {
  return {
    ...limits,
    headTimeout: Math.min(limits.headTimeout, LONGEST_WAIT),
    requestTimeout: Math.min(limits.requestTimeout, LONGEST_WAIT),
    idleTimeout: Math.min(limits.idleTimeout, LONGEST_WAIT),
    writeTimeout: Math.min(limits.writeTimeout, LONGEST_WAIT),
  };
}

function refuseIfClosing(shutdown: ShutdownController): void {
  if (!shutdown.signal.aborted) return;
  throw new StartError(
    "serve() was called on a controller that is already shutting down; " +
      "make a new ShutdownController to serve again.",
  );
}

function urlOf(
  { hostname, unix, tls }: ListenOptions,
  port: number,
): string {
  if (unix !== undefined) return `unix:${unix}`;
  // "All addresses" is no address that a browser can open.
  const host = hostname === "0.0.0.0" || hostname === "::"
    ? "localhost"
    : hostname.includes(":")
    ? `[${hostname}]`
    : hostname;
  return `${tls ? "https" : "http"}://${host}:${port}`;
}
