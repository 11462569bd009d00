import { getRequestListener } from "@hono/node-server";
import { setMaxListeners } from "node:events";
import type { AddressInfo } from "node:net";
import { Connections } from "./node_connections.ts";
import {
  eventLoopDelayBeyond,
  exitAfter,
  outputTo,
  streamed,
  streamOf,
} from "./node_process.ts";
import { withWebSockets } from "./node_upgrade.ts";
import { websocketServer } from "./node_websocket.ts";
import {
  type FetchHandler,
  type Host,
  type Listener,
  ListenError,
  type ListenFailure,
  type ListenOptions,
} from "./runtime.ts";
import { LOOK } from "./times.ts";
import { readTls } from "./tls.ts";
import { removeStaleSocket } from "./unix_socket.ts";

export { getConnInfo } from "@hono/node-server/conninfo";
export {
  args,
  env,
  hasColors,
  isTerminal,
  onSignal,
  onUncaught,
  setExitCode,
} from "./node_process.ts";
export { upgradeWebSocket } from "./node_upgrade.ts";
export { isWebSocket } from "./websocket.ts";

export const name = "node";
export const version = globalThis.process.versions.node;
export const oldest = "20.0.0";

export async function listen(
  host: Host,
  { hostname, port, unix, tls, reusePort, limits }: ListenOptions,
): Promise<Listener> {
  if (reusePort && !canReusePort()) {
    throw new ListenError(
      "other",
      `reusePort needs Node 22.12 or later, and this is ${version}`,
    );
  }
  if (unix !== undefined) await removeStaleSocket(unix);
  const connections = new Connections(
    limits,
    tls && await readTls(tls),
    host,
  );
  const { server } = connections;
  const websockets = websocketServer(host, limits);
  // HTTP/1.0 needs no Host, and HAProxy's plain health check sends none.
  const listener = (handle: FetchHandler) =>
    getRequestListener(handle, { hostname: "localhost" });
  server.on(
    "request",
    connections.track(
      listener(host.fetch),
      listener(withWebSockets(host.fetch, websockets, connections)),
    ),
  );

  await new Promise<void>((resolve, reject) => {
    server.once(
      "error",
      (error: NodeJS.ErrnoException) =>
        reject(new ListenError(failureOf(error), error)),
    );
    server.listen(
      // Node removes the file of a Unix socket by itself.
      unix === undefined ? { host: hostname, port, reusePort } : { path: unix },
      resolve,
    );
  });

  const address = server.address();
  return {
    hostname,
    port: (address as AddressInfo).port ?? 0,
    inFlight: () => connections.inFlight(),
    countAnswers: () => connections.countAnswers(),
    answered: () => connections.answered,
    close: (idleGrace) => connections.close(idleGrace),
    cut: () => connections.cut(),
  };
}

/** Node 20 warns of a leak on stderr when the eleventh event stream opens. */
export function expectManyListeners(signal: AbortSignal): void {
  setMaxListeners(0, signal);
}

function canReusePort(): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 22 || major === 22 && minor >= 12;
}

function failureOf(error: NodeJS.ErrnoException): ListenFailure {
  switch (error.code) {
    case "EADDRINUSE":
      return "in use";
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "not ours";
    case "EACCES":
    case "EPERM":
      return "denied";
    default:
      return "other";
  }
}

export const stdout = outputTo(1, () => terminal(1));
export const stderr = outputTo(2, () => terminal(2));

/** Node makes a terminal block, and one that was stopped by Ctrl-S stops us. */
function terminal(fd: 1 | 2) {
  const { _handle: handle } = streamOf(fd) as unknown as {
    _handle?: { setBlocking?(blocking: boolean): void };
  };
  handle?.setBlocking?.(false);
  return streamed(fd);
}

// Not end(): it would also end what a wrapper of ours still has to say.
export const exit = (code: number) =>
  exitAfter(
    [stdout, stderr],
    (stream, done) => stream.write("", () => done()),
    code,
  );

// Node counts the time between two looks, Bun what exceeds it.
export const eventLoopDelay = () => eventLoopDelayBeyond(LOOK);
