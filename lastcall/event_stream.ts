import type { Context } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import { LONGEST_WAIT } from "../runtimes/times.ts";
import { toError } from "./errors.ts";

export interface EventStreamOptions {
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
 * Server-sent events that end well: when `leaving` aborts (`shutdown.signal`),
 * the client gets a last event, `shutdown`, and the response ends whole, whatever
 * `send` is waiting for just then. `over` aborts then, and when the client has
 * left, so that `send` can let go of what it holds.
 */
export function eventStream(
  c: Context,
  leaving: AbortSignal,
  send: (stream: SSEStreamingApi, over: AbortSignal) => Promise<void>,
  { heartbeat = 15_000, onError }:
    & EventStreamOptions
    & { onError(error: Error): void },
): Response {
  return streamSSE(c, async (stream) => {
    const over = new AbortController();
    const ended = new Promise<void>((resolve) =>
      over.signal.addEventListener("abort", () => resolve())
    );
    const end = () => over.abort(leaving.reason);
    stream.onAbort(end);
    leaving.addEventListener("abort", end);
    if (leaving.aborted) end();
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
      leaving.removeEventListener("abort", end);
    }
    if (!leaving.aborted || stream.aborted) return;
    const data = "the server is shutting down";
    await stream.writeSSE({ event: "shutdown", data });
  });
}
