import { Hono } from "hono";
import type { ShutdownController } from "./shutdown.ts";

/**
 * `/livez` is 200 for as long as the process answers. `/readyz` is 200 while
 * serving and 503 otherwise: red from the very moment a shutdown begins, so that
 * a balancer can turn away before anything closes.
 */
export function health(shutdown: ShutdownController): Hono {
  const app = new Hono();
  app.get("/livez", (c) => {
    c.header("Cache-Control", "no-store");
    return c.json({ status: "live" });
  });
  app.get("/readyz", (c) => {
    c.header("Cache-Control", "no-store");
    const ready = shutdown.phase === "serving";
    return c.json({ status: shutdown.phase }, ready ? 200 : 503);
  });
  return app;
}
