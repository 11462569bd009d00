/** Bodies that break off, in the app with its log and its metrics. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { after, afterEach, test } from "node:test";
import { RawClient, text } from "../support/raw_client.ts";
import {
  killAll,
  type Process,
  removeScratch,
} from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const head = (path: string, framing: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${framing}\r\n\r\n`;
const half: Record<string, string> = {
  "with a length": head("/read", "Content-Length: 1000") + "half of it",
  "in chunks": head("/read", "Transfer-Encoding: chunked") + "4\r\nhalf\r\n",
};

const errors = (server: Process) =>
  server.lines.filter(({ json }) => json?.level === "error")
    .map(({ text }) => text);

for (const how of ["leave", "halfClose"] as const) {
  for (const [framing, bytes] of Object.entries(half)) {
    test(`an upload ${framing} that its client abandons (${how}) is no error of the server's`, async () => {
      const server = await start({}, "proof/app/bodies_fixture.ts");
      const port = await portOf(server);
      const client = await RawClient.connect(port);
      await client.write(bytes);
      // In chunks it is the limit that reads, and nothing tells when.
      if (framing === "with a length") await server.logged("reading");
      else await (await RawClient.connect(port)).get("/");
      client[how]();
      const { json } = await server.logged("request answered", {
        path: "/read",
      });
      assertEquals(json?.status, 499, server.describe());

      const other = await RawClient.connect(port);
      assertMatch(
        text(await other.get("/counted")),
        /^http_requests_total{method="POST",route="\/read",status="499"} 1$/m,
      );
      server.signal("SIGTERM");
      assertEquals((await server.exited).code, 0, server.describe());
      assertEquals(errors(server), []);
    });
  }
}

test("a handler that heeds its client's leaving makes no error of it", async () => {
  const server = await start({}, "proof/app/bodies_fixture.ts");
  const client = await RawClient.connect(await portOf(server));
  await client.send("GET", "/heeds");
  await server.logged("reading");
  client.leave();
  const { json } = await server.logged("request answered", { path: "/heeds" });
  assertEquals(json?.status, 499, server.describe());
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
  assertEquals(errors(server), []);
});

test("what really is broken is an error, also where the client has left", async () => {
  const server = await start({}, "proof/app/bodies_fixture.ts");
  const client = await RawClient.connect(await portOf(server));
  await client.write(head("/broken", "Content-Length: 1000") + "half of it");
  await server.logged("reading");
  client.leave();
  const { json } = await server.logged("request failed");
  assertEquals(json?.error, "really broken");
  assert(json?.stack);
  await server.logged("request answered", { status: 500 });
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
});
