/** The wrappers: clauses W of lastcall/CONTRACT.md, against real processes. */
import * as path from "node:path";
import process from "node:process";
import { assertEquals } from "@std/assert";
import { clause, Skip } from "../support/clause.ts";
import { isNode } from "../support/expect.ts";
import { Terminal } from "../support/pty.ts";
import { RawClient, type RawResponse } from "../support/raw_client.ts";
import {
  binFolder,
  executable,
  type Process,
  root,
  runtime,
  ServerProcess,
} from "../support/server_process.ts";

/** How users of this runtime start the app, and the binaries that takes. */
const startCommand = {
  deno: "deno task start",
  bun: "bun run start",
  node: "npm start",
}[runtime];

function wrapped(env: Record<string, string | number> = {}) {
  const PATH = [binFolder(), process.env.PATH].join(path.delimiter);
  // In a terminal the app would speak to people; /slow is a demonstration.
  return { cwd: root, env: { LOG_FORMAT: "json", DEMO: "true", ...env, PATH } };
}

/** A slow request in flight, through the wrapper; the real app has no events. */
async function slowRequest(
  server: Process,
  ms: number,
): Promise<{ client: RawClient; response: Promise<RawResponse> }> {
  const { json } = await server.logged("server listening");
  const port = Number(new URL(String(json?.url)).port);
  const client = await RawClient.connect(port);
  await client.send("GET", `/slow?ms=${ms}`);
  const response = client.response();
  response.catch(() => {}); // awaited by whoever wants it
  // Whatever was sent before this answer has been read by the server.
  const witness = await RawClient.connect(port);
  assertEquals((await witness.get("/livez")).status, 200);
  witness.leave();
  return { client, response };
}

function assertDrained(server: Process, code: number, reason: string): void {
  const [finished, ...more] = server.printed("shutdown finished");
  assertEquals(more, [], "one shutdown");
  assertEquals(
    [finished?.json?.exitCode, finished?.json?.reason],
    [code, reason],
    server.describe(),
  );
  assertEquals(
    [server.exit?.code, server.exit?.signal],
    [code, null],
    server.describe(),
  );
}

clause(
  "W1",
  "one Ctrl-C in a terminal drains, and the wrapper's exit code is the server's",
  async ({ step }) => {
    if (process.platform === "win32") throw new Skip("no pseudo-terminal here");
    await step(`${startCommand}, to the end`, async () => {
      const terminal = new Terminal(startCommand, wrapped());
      const { response } = await slowRequest(terminal, 900);
      terminal.ctrlC();
      assertEquals((await response).status, 200);
      await terminal.exited;
      assertDrained(terminal, 0, "SIGINT");
    });

    await step(`${startCommand}, to the deadline`, async () => {
      const terminal = new Terminal(
        startCommand,
        wrapped({ DRAIN_TIMEOUT_MS: 300 }),
      );
      const { client } = await slowRequest(terminal, 20_000);
      terminal.ctrlC();
      await terminal.exited;
      await client.closed;
      assertDrained(terminal, 1, "SIGINT");
    });
  },
);

clause(
  "W2",
  "SIGTERM to the wrapper drains, and its exit code is the server's",
  async ({ step }) => {
    const commands: string[][] = [startCommand.split(" ")];
    // `npm start` of W1 and of this clause has built it.
    if (isNode) commands.push([executable, path.join(root, "dist/main.js")]);
    for (const command of commands) {
      const how = command.map((part) => path.basename(part)).join(" ");
      await step(`${how}, to the end`, async () => {
        const server = new ServerProcess(command, wrapped());
        const { response } = await slowRequest(server, 900);
        server.signal("SIGTERM");
        assertEquals((await response).status, 200);
        await server.exited;
        assertDrained(server, 0, "SIGTERM");
      });

      await step(`${how}, to the deadline`, async () => {
        const env = wrapped({ DRAIN_TIMEOUT_MS: 300 });
        const server = new ServerProcess(command, env);
        const { client } = await slowRequest(server, 20_000);
        server.signal("SIGTERM");
        await server.exited;
        await client.closed;
        assertDrained(server, 1, "SIGTERM");
      });
    }
  },
);
