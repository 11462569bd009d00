import type {
  FetchHandler,
  InFlight,
  Listener,
  ListenOptions,
  Runtime,
} from "../../runtimes/runtime.ts";
import { watchProcess } from "./process.ts";
import { type CutRequest, ShutdownController } from "./shutdown.ts";
import { Sockets } from "./sockets.ts";
import { StartError, whyNotListening } from "./start_error.ts";

export interface ServeOptions {
  /** Default "0.0.0.0": every IPv4 address of the machine. */
  hostname?: string;
  /** Default 3000; 0 takes any free port. */
  port?: number;
  /** Default: a new controller, found at `server.shutdown`. */
  shutdown?: ShutdownController;
  /**
   * Which signals begin the shutdown. Default SIGINT, SIGTERM, SIGBREAK. With
   * none, uncaught errors do not either: somebody else begins it.
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

/** Listens, and puts the server under its controller's care. */
export async function serve(
  runtime: Runtime,
  app: { fetch: FetchHandler },
  options: ServeOptions,
): Promise<Server> {
  const { shutdown = new ShutdownController() } = options;
  watchProcess(runtime, shutdown, options.signals);
  refuseIfClosing(shutdown);

  const wanted: ListenOptions = {
    hostname: options.hostname ?? "0.0.0.0",
    port: options.port ?? 3000,
  };
  const sockets = new Sockets(shutdown.clock, shutdown.socketBatch);
  let listener: Listener;
  try {
    listener = await runtime.listen(
      app.fetch,
      wanted,
      (socket) => sockets.opened(socket),
    );
  } catch (error) {
    throw whyNotListening(error, wanted);
  }
  if (shutdown.signal.aborted) {
    await listener.cut();
    refuseIfClosing(shutdown);
  }

  shutdown.attach({
    inFlight: () => listener.inFlight().map(toBlame),
    countAnswers: () => listener.countAnswers(),
    answered: () => listener.answered(),
    openSockets: () => sockets.size,
    close: (idleGrace) =>
      listener.close({
        idleGrace,
        stopped: () =>
          shutdown.log({ level: "info", message: "listener closed", url }),
        closeSockets: () => sockets.close(),
      }),
    cut: () => {
      sockets.cut();
      return listener.cut();
    },
  });

  const { hostname, port } = listener;
  const url = urlOf(hostname, port);
  const name = `${runtime.name} ${runtime.version}`;
  const message = "server listening";
  shutdown.log({ level: "info", message, url, runtime: name });
  return { url, hostname, port, runtime: name, shutdown };
}

function refuseIfClosing(shutdown: ShutdownController): void {
  if (!shutdown.signal.aborted) return;
  throw new StartError(
    "serve() was called on a controller that is already shutting down; " +
      "make a new ShutdownController to serve again.",
  );
}

/** Who is to blame, without what a query string may give away. */
function toBlame({ method, url, since }: InFlight): CutRequest {
  // Absolute or not: the path begins at the first slash after the authority.
  const path = url.replace(/^[a-z]+:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "");
  return { method, path: path || "/", ageMs: Math.max(0, Date.now() - since) };
}

function urlOf(hostname: string, port: number): string {
  // "All addresses" is no address that a browser can open.
  const host = hostname === "0.0.0.0" || hostname === "::"
    ? "localhost"
    : hostname.includes(":")
    ? `[${hostname}]`
    : hostname;
  return `http://${host}:${port}`;
}
