import { assertEquals } from "@std/assert";
import { after, afterEach, test } from "node:test";
import { RawWebSocket } from "../support/raw_websocket.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

test("a WebSocket opens behind the app's middleware, and is closed in order", async () => {
  const server = await start({}, "proof/app/websocket_fixture.ts");
  const url = `http://127.0.0.1:${await portOf(server)}`;
  const socket = await RawWebSocket.connect(url, "/ws");
  socket.send("hello");
  await socket.message("You said hello");
  await server.logged("request answered", { route: "/ws", status: 101 });
  server.signal("SIGTERM");
  assertEquals((await socket.closed).code, 1001);
  assertEquals((await server.exited).code, 0, server.describe());
  assertEquals(server.report().sockets, { open: 1, cut: 0 });
  assertEquals(server.output("stderr"), "");
  assertEquals(server.lines.filter(({ json }) => json?.level === "error"), []);
});
