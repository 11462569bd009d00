// @ts-nocheck: types are checked without this package being installed.

import { FastResponse, serve } from "srvx";
import { app, listening } from "../app.js";

// srvx at its best: on Node its own Response is twice as fast as Node's, as
// @hono/node-server's is; elsewhere it is the runtime's own.
globalThis.Response = FastResponse;

const server = serve({
  fetch: app.fetch,
  hostname: "127.0.0.1",
  port: 0,
  silent: true,
});
await server.ready();
listening(Number(new URL(server.url).port));
