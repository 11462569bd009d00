/** Whatever is asked for, it is no error of the server's, and nothing is given away. */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { after, afterEach, test } from "node:test";
import { featurePaths } from "../support/features.ts";
import { RawClient, text } from "../support/raw_client.ts";
import { killAll, removeScratch, root } from "../support/server_process.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const paths = [
  "/%",
  "/%zz",
  "/%ff%fe",
  "/%00",
  "/..",
  "/../../etc/passwd",
  "/..%2f..%2fetc%2fpasswd",
  "/.env",
  "/src/main.ts",
  "//",
  "//evil.example/",
  "/\\evil.example",
  "/__proto__",
  "/constructor",
  "/slow?ms=%",
  "/slow?ms=-1",
  "/slow?ms=NaN&ms=0",
  "/events%0a",
  `/${"a".repeat(8000)}`,
  `/${"%41".repeat(2000)}`,
  `/${"a/".repeat(3000)}`,
  ...featurePaths("hostile"),
  "http://evil.example/",
];
const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const types = ["application/json", "multipart/form-data", "text/plain; ;;", ""];

test("hostile paths, methods and types are answered, without an error line", async () => {
  const server = await start({ DATABASE_URL: "", LOG_LEVEL: "info" });
  const port = await portOf(server);
  let asked = 0;
  for (const path of paths) {
    for (const method of [...methods, "PROPFIND", "get"]) {
      const client = await RawClient.connect(port);
      const type = types[asked++ % types.length];
      await client.write(
        Buffer.from(
          `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n` +
            `Content-Type: ${type}\r\nConnection: close\r\n` +
            "Content-Length: 2\r\n\r\n{]",
        ),
      );
      await client.closed;
      const [response] = client.responses;
      // A runtime may close on what it takes for no HTTP.
      if (!response) continue;
      const what = `${method} ${path.slice(0, 60)}: ${server.describe()}`;
      assert(response.status < 500, what);
      const answer = [...response.headers.values(), text(response)].join("\n");
      assert(!answer.includes(root), what);
      assert(!/node_modules| at .*:\d+:\d+/.test(answer), what);
    }
  }
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
  assertEquals(
    server.lines.filter(({ json }) => json?.level === "error"),
    [],
  );
  assertEquals(server.output("stderr"), "");
});
