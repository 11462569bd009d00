import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { answerError } from "./problem.ts";
import { health, type ShutdownController } from "./server/mod.ts";

/** The longest that `/slow` can be asked to take. */
const SLOWEST_MS = 60_000;

/** The app: its middleware and its routes. */
export function createApp(shutdown: ShutdownController): Hono {
  const app = new Hono();
  app.onError(answerError);

  // /livez and /readyz, for whoever watches over the process.
  app.route("/", health(shutdown));

  app.get("/", (c) => c.text("Hello from lastcall!\n"));

  // A handler that takes its time needs to know nothing of a shutdown: it is
  // waited for. Try `curl localhost:3000/slow?ms=5000` and Ctrl-C meanwhile.
  app.get("/slow", async (c) => {
    const wish = Number(c.req.query("ms") ?? 1000);
    const ms = Math.min(Math.max(0, wish || 0), SLOWEST_MS);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return c.text(`That took ${ms} ms.\n`);
  });

  // A handler that would never end by itself listens to `shutdown.signal`.
  app.get("/events", (c) =>
    streamSSE(c, async (stream) => {
      const over = new AbortController();
      const end = () => over.abort();
      stream.onAbort(end); // the client has left
      shutdown.signal.addEventListener("abort", end); // we are leaving
      if (shutdown.signal.aborted) end();

      while (!over.signal.aborted) {
        await stream.writeSSE({
          event: "tick",
          data: new Date().toISOString(),
        });
        await pause(1000, over.signal);
      }
      shutdown.signal.removeEventListener("abort", end);

      if (!stream.aborted) {
        await stream.writeSSE({ event: "end", data: "shutting down" });
      }
    }));

  return app;
}

/** Resolves after `ms`, or as soon as `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
