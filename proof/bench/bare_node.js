import { serve } from "@hono/node-server";
import process from "node:process";
import { app, listening } from "./app.js";

const server = serve(
  { fetch: app.fetch, hostname: "127.0.0.1", port: 0 },
  ({ port }) => listening(port),
);

process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  if ("closeAllConnections" in server) server.closeAllConnections();
});
