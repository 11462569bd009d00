import type { Context } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import { LONGEST_WAIT } from "../runtimes/times.ts";
import { toError } from "./errors.ts";
import type { ShutdownController } from "./shutdown.ts";

export interface EventStreamOptions {
  /**
   * What the shutdown means for it. One that would never end by itself (a
   * subscription) ends when the listener closes: "end", the default. One that
   * will (an answer that is being written) is waited for like any response:
   * "finish".
   */
  onShutdown?: "end" | "finish";
  /**
   * After how long a client that was told of the end comes back, in milliseconds:
   * after one to two times as long, so that not all return in one instant.
   * Default 2,000.
   */
  retry?: number;
  /**
   * How often a comment is sent, in milliseconds, so that neither a runtime nor
   * a balancer takes a quiet stream for a dead one. Default 15,000.
   */
  heartbeat?: number;
  /**
   * What `send` throws comes too late for the app's own `onError`: the answer has
   * begun. Default: `jsonLog`.
   */
  onError?: (error: Error) => void;
}

/**
 * Server-sent events that end well. When the listener closes, as many at a time
 * as WebSockets, the client gets a last event, `shutdown`, which says when to come
 * back, and the response ends whole, whatever `send` is waiting for just then.
 * `over` aborts then, and when the client has left, so that `send` can let go of
 * what it holds.
 */
export function eventStream(
  c: Context,
  shutdown: Pick<ShutdownController, "signal" | "streams">,
  send: (stream: SSEStreamingApi, over: AbortSignal) => Promise<void>,
  { onShutdown = "end", retry = 2_000, heartbeat = 15_000, onError }:
    & EventStreamOptions
    & { onError(error: Error): void },
): Response {
  return streamSSE(c, async (stream) => {
    const over = new AbortController();
    const ended = new Promise<void>((resolve) =>
      over.signal.addEventListener("abort", () => resolve())
    );
    stream.onAbort(() => over.abort());
    let isTold = false;
    const tell = () => {
      isTold = true;
      over.abort(shutdown.signal.reason);
    };
    const left = onShutdown === "end"
      ? shutdown.streams.opened({ close: tell, cut: tell })
      : () => {};
    const beating = setInterval(
      () => void stream.write(":\n\n"),
      Math.min(heartbeat, LONGEST_WAIT),
    );
    try {
      await Promise.race([send(stream, over.signal), ended]);
    } catch (error) {
      // Unless it was told that all is over, and said so.
      if (!over.signal.aborted) onError(toError(error));
    } finally {
      clearInterval(beating);
      left();
    }
    if (!isTold || stream.aborted) return;
    await stream.writeSSE({
      event: "shutdown",
      data: "the server is shutting down",
      retry: Math.round(retry * (1 + Math.random())),
    });
  });
}
