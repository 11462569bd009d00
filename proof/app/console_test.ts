import { assert, assertEquals, assertMatch } from "@std/assert";
import process from "node:process";
import { after, afterEach, describe, test } from "node:test";
import { Terminal } from "../support/pty.ts";
import { RawClient } from "../support/raw_client.ts";
import {
  commandFor,
  killAll,
  type Process,
  removeScratch,
  runtime,
} from "../support/server_process.ts";
import {
  portOf,
  projectWith,
  start,
  startCommand,
  terminal,
  wrapped,
} from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const URL_LINE = /http:\/\/127\.0\.0\.1:(\d+)/;
const LIVE = "Waiting for 1 request. Ctrl-C again cuts it short.";
const skip = process.platform === "win32" && "no pseudo-terminal here";

/** What is left on the screen of what was printed. */
function screen(output: string): string[] {
  const rows = [""];
  let row = 0, column = 0;
  // deno-lint-ignore no-control-regex
  for (const [token] of output.matchAll(/\x1b\[\??[\d;]*[A-Za-z]|[^]/g)) {
    if (token === "\n") {
      rows[++row] ??= "";
      column = 0;
    } else if (token === "\r") column = 0;
    else if (token === "\x1b[1A") row--;
    else if (token === "\x1b[1G") column = 0; // npm, at its own end
    else if (token === "\x1b[0K") rows[row] = rows[row]!.slice(0, column);
    else if (token === "\x1b[J") {
      rows.length = row + 1;
      rows[row] = rows[row]!.slice(0, column);
    } else if (!token.startsWith("\x1b")) {
      const text = rows[row]!.padEnd(column);
      rows[row] = text.slice(0, column) + token + text.slice(++column);
    }
  }
  return rows;
}

/** A slow request on its way, and the client that waits for it. */
async function slowRequest(server: Process, ms: number): Promise<RawClient> {
  const { text } = await server.line(
    "its URL",
    ({ text }) => URL_LINE.test(text),
  );
  const port = Number(URL_LINE.exec(text)?.[1]);
  const client = await RawClient.connect(port);
  await client.send("GET", `/slow?ms=${ms}`);
  const witness = await RawClient.connect(port);
  assertEquals((await witness.get("/")).status, 200);
  witness.leave();
  return client;
}

/**
 * By its own word: where nothing is in flight, the server has gone before npm has
 * heard of the Ctrl-C, and npm then ends with 130.
 */
async function stopped(server: Terminal): Promise<void> {
  server.ctrlC();
  await server.exited;
  assertMatch(server.output(), /stopped cleanly in \d+ ms, after/);
}

describe(`${startCommand} in a terminal`, { skip }, () => {
  test("greets with its URL, its runtime and its routes", async () => {
    const server = terminal(startCommand);
    await server.line(
      "how to stop it",
      ({ text }) => text.includes("Ctrl-C stops it."),
    );
    const lines = server.lines.map(({ text }) => text);
    const title = new RegExp(`^  http://127.0.0.1:\\d+ on ${runtime} \\d+\\.`);
    assert(lines.some((line) => title.test(line)), server.describe());
    for (const path of ["/", "/slow", "/events", "/livez", "/readyz"]) {
      const route = new RegExp(`^    GET +${path}$`);
      assertEquals(lines.filter((line) => route.test(line)).length, 1, path);
    }
    await stopped(server);
  });

  for (const NO_COLOR of ["", "1"]) {
    test(`with NO_COLOR=${NO_COLOR} has ${NO_COLOR ? "no " : ""}colours`, async () => {
      const server = terminal(startCommand, { NO_COLOR, TERM: "xterm" });
      const { text } = await server.line(
        "that it listens",
        ({ text }) => text.includes("server listening"),
      );
      // deno-lint-ignore no-control-regex
      assertEquals(/\x1b\[/.test(text), NO_COLOR === "", text);
      await stopped(server);
    });
  }

  test("tells during the drain what it waits for; the report is last", async () => {
    const server = terminal(startCommand);
    const client = await slowRequest(server, 1_200);
    server.ctrlC();
    await server.line("what it waits for", ({ text }) => text.includes(LIVE));
    assertEquals((await client.response()).status, 200);
    assertEquals((await server.exited).code, 0, server.describe());

    const rows = screen(server.output()).filter((row) => row !== "");
    assertMatch(rows.at(-1)!, /INFO +stopped cleanly in \d+ ms, after SIGINT/);
    assert(!rows.some((row) => row.includes("Waiting")), rows.join("\n"));
    assertEquals(
      rows.filter((row) => row.includes("shutdown began")).length,
      1,
    );
  });

  test("a second Ctrl-C does what was said", async () => {
    // No wrapper: npm takes a second one for its own, now and then, and ends
    // with 130 whatever the server says.
    const server = terminal((await commandFor("src/main.ts")).join(" "));
    const client = await slowRequest(server, 20_000);
    server.ctrlC();
    await server.line("what it waits for", ({ text }) => text.includes(LIVE));
    // Within half a second it would be the same Ctrl-C.
    await new Promise((resolve) => setTimeout(resolve, 600));
    server.ctrlC();
    await client.closed;
    assertEquals((await server.exited).code, 1, server.describe());
    const rows = screen(server.output()).filter((row) => row !== "");
    assertMatch(
      rows.at(-1)!,
      /ERROR +stopped by force in \d+ ms, after SIGINT; cut: GET \/slow/,
    );
  });

  test("with LOG_FORMAT=json prints JSON alone", async () => {
    const server = terminal(startCommand, { LOG_FORMAT: "json" });
    await portOf(server);
    const client = await slowRequest(server, 400);
    server.ctrlC();
    assertEquals((await client.response()).status, 200);
    assertEquals((await server.exited).code, 0, server.describe());
    const rows = screen(server.output()).filter((row) => row !== "");
    const ours = rows.slice(rows.findIndex((row) => row.startsWith("{")));
    assert(ours.length >= 5, server.describe());
    // The terminal itself says what was typed.
    for (const row of ours) JSON.parse(row.replace("^C", ""));
  });
});

test("where stdout is no terminal, every line is JSON", async () => {
  const server = await start();
  const client = await slowRequest(server, 400);
  server.signal("SIGTERM");
  assertEquals((await client.response()).status, 200);
  assertEquals((await server.exited).code, 0, server.describe());
  for (const { text, json } of server.lines) assert(json, text);
  assertEquals(server.report().outcome, "clean");
});

test("LOG_FORMAT=pretty without a terminal has no colours", async () => {
  const server = await start({ LOG_FORMAT: "pretty" });
  await server.line("its URL", ({ text }) => URL_LINE.test(text));
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
  // deno-lint-ignore no-control-regex
  assert(!/\x1b/.test(server.output()), server.output());
  assertMatch(server.output(), /INFO +stopped cleanly .*\n$/);
});

test(
  `${startCommand} in a terminal asks nothing, in a clone without a data folder`,
  {
    skip,
  },
  async () => {
    const server = new Terminal(startCommand, wrapped({}, projectWith()));
    await server.line("its URL", ({ text }) => URL_LINE.test(text));
    server.ctrlC();
    assertEquals((await server.exited).code, 0, server.describe());
  },
);
