/** The server as a process: what is in flight at its SIGTERM is answered. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { usual } from "./app_setup.ts";

const start = process.versions.deno
  ? ["task", "--quiet", "start"]
  : ["scripts/start.js"];

test("a request in flight at SIGTERM is answered, and the exit code is 0", {
  timeout: 30_000,
  skip: process.platform === "win32" && "no signals here",
}, async () => {
  const server = spawn(process.execPath, start, {
    env: {
      ...process.env,
      ...usual,
      PORT: "0",
      HOST: "127.0.0.1",
      LOG_FORMAT: "json",
      LOG_LEVEL: "info",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(server, "exit");
  const lines: string[] = [];
  const output = createInterface({ input: server.stdout });
  const logged = (message: string) =>
    new Promise<Record<string, unknown>>((resolve) => {
      const look = (line: string) => {
        if (!line.includes(`"message":"${message}"`)) return;
        output.off("line", look);
        resolve(JSON.parse(line));
      };
      output.on("line", look);
    });
  output.on("line", (line) => lines.push(line));
  try {
    const ended = exited.then(([code]) => {
      throw new Error(`it ended with ${code} before it listened`);
    });
    const { url } = await Promise.race([logged("server listening"), ended]);
    const { port } = new URL(String(url));

    // Half an upload: the app waits for the rest.
    const upload = connect(Number(port), "127.0.0.1").setEncoding("utf8");
    let answer = "";
    upload.on("data", (text) => answer += text);
    upload.write(
      "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" +
        "5\r\nhello\r\n",
    );
    // Answered after it: so the server has the half as well.
    assertEquals((await fetch(`http://127.0.0.1:${port}/livez`)).status, 200);

    const began = logged("shutdown began");
    const finished = logged("shutdown finished");
    // Not the child's own kill(): Deno then tells no exit code.
    process.kill(server.pid!, "SIGTERM");
    await began;
    upload.write("0\r\n\r\n");
    await once(upload, "close");
    assertMatch(answer, /^HTTP\/1\.1 \d{3} /);
    const report = await finished;
    assertEquals([report.outcome, report.exitCode], ["clean", 0]);
    assertEquals((await exited)[0], 0);
    assert(lines.at(-1)?.includes("shutdown finished"), lines.join("\n"));
  } finally {
    server.kill("SIGKILL");
  }
});
