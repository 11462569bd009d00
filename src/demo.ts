import { Hono } from "hono";
import { eventStream, type ShutdownController } from "#lastcall";
import type { Config } from "./config.ts";
import { pause } from "./kit/pause.ts";
import { answerError } from "./kit/problem.ts";

/** The longest that `/slow` can be asked to take. */
const SLOWEST_MS = 60_000;

/** Routes to try a shutdown with. Delete this file when you have seen enough. */
export function demo(
  { config, shutdown }: {
    config: Pick<Config, "demo">;
    shutdown: ShutdownController;
  },
): Hono {
  const app = new Hono();

  // A handler that takes its time needs to know nothing of a shutdown: it is
  // waited for. Try `curl localhost:3000/slow?ms=5000` and Ctrl-C meanwhile. Not
  // in production: anybody could hold each deploy to its deadline.
  if (config.demo) {
    app.get("/slow", async (c) => {
      const wish = Number(c.req.query("ms") ?? 1000);
      const ms = Math.min(Math.max(0, wish || 0), SLOWEST_MS);
      await new Promise((resolve) => setTimeout(resolve, ms));
      return c.text(`That took ${ms} ms.\n`);
    });
  }

  // An event stream ends when the listener closes, and its client is told when
  // to come back.
  app.get(
    "/events",
    (c) =>
      eventStream(c, shutdown, async (stream, over) => {
        while (!over.aborted) {
          await stream.writeSSE({
            event: "tick",
            data: new Date().toISOString(),
          });
          await pause(1000, over);
        }
      }, { onError: (error) => void answerError(error, c) }),
  );

  return app;
}
