/**
 * What others have written to attack servers, where Debian's packages are
 * installed: slowhttptest, h2load (nghttp2-client), zzuf, sslscan. They take
 * their time, so they are part of the long run alone.
 */
import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { Process, scratchFolder } from "../support/server_process.ts";
import { which } from "../../scripts/which.js";
import { attack, type AttackOptions } from "./attack.ts";
import { hello } from "./frames.ts";
import { fixture, type Target } from "./target.ts";
import { upgrade } from "./websocket_frames.ts";

export function realTools(seed: number): void {
  const slow = {
    "heads": ["-H"],
    "bodies": ["-B"],
    "readers": ["-X", "-w", "1", "-y", "10", "-n", "1", "-z", "5"],
    "ranges": ["-R"],
  };
  for (const [name, how] of Object.entries(slow)) {
    const options = { source: fixture };
    withTool("slowhttptest", name, options, async ({ url }) => {
      const { code } = await ran([
        "slowhttptest",
        ...how,
        // 16 MB for each reader are work for any server; the others cost nothing.
        ...["-c", name === "readers" ? "50" : "300"],
        ...["-r", "150", "-i", "1", "-l", "10"],
        ...["-u", `${url}${how[0] === "-B" ? "/count" : "/big"}`],
      ]);
      assertEquals(code, 0);
    });
  }

  withTool("h2load", "20,000 requests", { tls: true }, async ({ url }) => {
    const { code, output } = await ran([
      "h2load",
      ...["-n", "20000", "-c", "10", "-m", "10", `${url}/`],
    ]);
    assertEquals(code, 0);
    assert(/, 0 failed, 0 errored/.test(output), output);
  });

  for (const [name, bytes] of Object.entries(corpus)) {
    const isHttp2 = name === "HTTP/2";
    const options = { tls: isHttp2, source: fixture };
    withTool("zzuf", name, options, async (target) => {
      const file = path.join(scratchFolder(), name.replace("/", ""));
      fs.writeFileSync(file, bytes);
      const until = performance.now() + 20_000;
      for (let at = 0; at < 1_000 && performance.now() < until; at++) {
        const { stdout } = spawnSync("zzuf", [
          ...["-s", `${seed + at}`, "-r", "0.001:0.05", "cat", file],
        ]);
        const attacker = await target.dial(
          target.url,
          isHttp2 ? "h2" : undefined,
        );
        await attacker.write(stdout);
        await attacker.answered(20);
        attacker.leave();
      }
    });
  }

  withTool("sslscan", "what TLS offers", { tls: true }, async ({ url }) => {
    const { code, output } = await ran([
      "sslscan",
      ...["--no-colour", new URL(url).host],
    ]);
    assertEquals(code, 0);
    for (const old of ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"]) {
      assert(!new RegExp(`${old}\\s+enabled`).test(output), output);
    }
    assert(/TLSv1\.3\s+enabled/.test(output), output);
    assert(
      !/ vulnerable/.test(output.replaceAll("not vulnerable", "")),
      output,
    );
  });
}

const corpus = {
  "HTTP/1.1": Buffer.from(
    "GET /slow?ms=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n" +
      "POST /count HTTP/1.1\r\nHost: localhost\r\n" +
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
  ),
  "HTTP/2": Buffer.concat([
    hello([4, 100]),
    // A GET in HPACK's usual form, with its static table and Huffman code.
    Buffer.from(
      "00001e010500000001828684418aa0e41d139d09b8f01e07847a8825b650c3cbbcb83f53032a2f2a",
      "hex",
    ),
    Buffer.from("0000080600000000000102030405060708", "hex"),
  ]),
  "a WebSocket": Buffer.concat([
    Buffer.from(upgrade("/ws")),
    Buffer.from("818500000000", "hex"),
    Buffer.from("hello"),
    Buffer.from("88820000000003e8", "hex"),
  ]),
};

function withTool(
  tool: string,
  name: string,
  options: AttackOptions,
  run: (target: Target) => Promise<void>,
): void {
  const skip = which(tool) ? undefined : `${tool} is not installed`;
  attack(`${tool}: ${name}`, { ...options, ...skip ? { skip } : {} }, run);
}

async function ran(
  command: string[],
): Promise<{ code: number | null; output: string }> {
  const tool = new Process(command);
  const { code } = await tool.exited;
  return { code, output: tool.output() + tool.output("stderr") };
}
