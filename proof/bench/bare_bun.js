// @ts-nocheck: tsc, where it checks for Node, knows nothing of Bun.

import { app, listening } from "./app.js";

const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: app.fetch });
listening(server.port);

process.on("SIGTERM", async () => {
  await server.stop(true);
  process.exit(0);
});
