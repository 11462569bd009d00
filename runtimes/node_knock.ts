import { connect } from "node:net";
import { NO_REQUEST, reachable } from "./accept_queue.ts";

/** One connection to ourselves; see `emptyAcceptQueue`. */
export function knock(
  hostname: string,
  port: number,
  unix: string | undefined,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = unix === undefined
      ? connect(port, reachable(hostname))
      : connect(unix);
    const over = () => {
      socket.destroy();
      resolve();
    };
    socket.on("data", over).on("error", over).on("close", over);
    socket.end(NO_REQUEST);
  });
}
