// @ts-nocheck: tsc, which checks the .js files, knows nothing of Deno.

import { app, listening } from "./app.js";

const stop = new AbortController();
const server = Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  signal: stop.signal,
  onListen: ({ port }) => listening(port),
}, app.fetch);

Deno.addSignalListener("SIGTERM", async () => {
  stop.abort();
  await server.finished;
  Deno.exit(0);
});
