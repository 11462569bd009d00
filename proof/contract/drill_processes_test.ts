/** The processes that a drill starts, and how it parts from them. */
import { after, describe, test } from "node:test";
import * as net from "node:net";
import process from "node:process";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { killAll } from "../../tools/drill/alive.js";
import { drillCommand } from "../../tools/drill/drill_command.js";
import { Load } from "../../tools/drill/load.js";
import { readOptions } from "../../tools/drill/options.js";
import { Problem } from "../../tools/drill/problem.js";
import { freePort, saysPort, Server } from "../../tools/drill/server.js";
import {
  badServer,
  drillCommandLine,
  makeFolder,
  outputs,
  quoted,
  removeFolder,
} from "../support/drilled.ts";
import {
  killAll as killProcesses,
  Process,
} from "../support/server_process.ts";

/** Where a bad server calls while it lives. */
const home = net.createServer();
await new Promise<void>((resolve) => home.listen(0, "127.0.0.1", resolve));
const env = { CALLS: (home.address() as net.AddressInfo).port };

/** Waits for the call of what a drill has started; `gone` when that has ended. */
function callFrom(drill: Process): Promise<{ gone: Promise<unknown> }> {
  return new Promise((resolve, reject) => {
    home.once("connection", (socket) => {
      socket.on("error", () => {});
      socket.resume();
      resolve({ gone: new Promise((gone) => socket.on("close", gone)) });
    });
    drill.exited.then(() => reject(new Error(drill.describe())));
  });
}

after(() => {
  home.close();
  killAll();
  killProcesses();
  removeFolder();
});

/** A drill in which nobody asks for anything, unless the test does. */
class NoLoad extends Load {
  override start() {}
  override async stop() {}
}

async function drillOf(
  args: string[],
  say: (text: string, port: number) => void = () => {},
) {
  const read = readOptions(args, badServer("well"));
  assert(read.ok && read.options !== "help", JSON.stringify(read));
  const { options } = read;
  const port = await freePort();
  const load = new NoLoad({
    ...options,
    host: "",
    connect: () => new net.Socket(),
    clock: { now: () => 0, after: () => () => {} },
  });
  return await drillCommand(options, port, load, (text) => say(text, port));
}

/** "GET /leave", to which a bad server exits. Resolves when it has. */
function askToLeave(port: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.on("connect", () => socket.write("GET /leave HTTP/1.1\r\n\r\n"));
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
}

const LEFT = "The server ended by itself (exit code 3); expected it to serve " +
  "until the signal.";

describe("a server that ends by itself", { timeout: 60_000 }, () => {
  test("after the last restart", async () => {
    const { mishaps, lives } = await drillOf(
      ["--restarts", "1", "--between", "1"],
      (text, port) => {
        if (text === "serving, after the last restart") askToLeave(port);
      },
    );
    assertEquals(mishaps, [LEFT]);
    assertEquals(lives.map(({ ending }) => ending), [
      "exit code 0",
      "exit code 3",
    ]);
    assertEquals(lives.map(({ exitCode }) => exitCode), [0, 3]);
  });

  test("while the next one starts", async () => {
    const { mishaps, lives } = await drillOf(
      ["--restarts", "1", "--between", "0.1", "--overlap"],
    );
    assertEquals(mishaps, [LEFT]);
    const [first, second] = lives;
    assertEquals(first?.signalAt, undefined, "it was dead by then");
    assert(second?.readyAt !== undefined);
  });
});

describe("the end of a server", { timeout: 60_000 }, () => {
  test("is its own, not that of a helper with its output", async () => {
    // It waits until the helper is on its own.
    const helped = "exec 3>&1; " +
      "echo helper $(setsid sh -c 'echo $$; exec sleep 60 >&3' &)";
    const server = new Server(["sh", "-c", helped], await freePort(), false);
    const { message } = await assertRejects(() => server.ready(false), Problem);
    const helper = Number(/helper (\d+)/.exec(message)?.[1]);
    process.kill(helper, "SIGKILL"); // Throws, were it not there any more.
    assertEquals(server.ending(), "exit code 0");
  });

  test("is the end of all that it started", async () => {
    const port = await freePort();
    const behindShell = `${quoted(badServer("well"))}; true`;
    const server = new Server(["sh", "-c", behindShell], port, false);
    await server.ready(false);
    const socket = net.connect(port, "127.0.0.1");
    socket.on("error", () => {});
    const closed = new Promise((resolve) => socket.on("close", resolve));
    await new Promise((resolve) => socket.on("connect", resolve));
    await server.end("SIGTERM");
    assertEquals(server.ending(), "ended by SIGTERM");
    await closed;
  });

  test("is when it was killed, where it was", async () => {
    const server = new Server(["sleep", "60"], await freePort(), false);
    server.kill();
    const { exitAt } = server;
    assert(exitAt !== undefined);
    await server.exited;
    assertEquals(server.exitAt, exitAt);
  });

  test("is the last we have to do with its number", async () => {
    const server = new Server(["true"], await freePort(), false);
    await server.exited;
    const { kill } = process;
    const killed: number[] = [];
    process.kill = (pid) => {
      killed.push(pid);
      return true;
    };
    try {
      killAll();
    } finally {
      process.kill = kill;
    }
    assertEquals(killed, []);
  });

  test("may come before its signal without our knowing", async () => {
    const server = new Server(["true"], await freePort(), false);
    const { kill } = process;
    // As if it had ended just now.
    process.kill = (pid, signal) => {
      kill(pid, "SIGKILL");
      throw Object.assign(new Error(`kill ${signal}`), { code: "ESRCH" });
    };
    const ended = server.end("SIGTERM");
    process.kill = kill;
    await ended;
    assert(server.exitAt !== undefined);
  });
});

describe("what a drill started ends with it", { timeout: 20_000 }, () => {
  const server = ["--command", quoted(badServer("well"))];

  test("a server, when the terminal is closed", async () => {
    const drill = startDrill(...server, "--between", "60");
    const { gone } = await callFrom(drill);
    process.kill(drill.pid, "SIGHUP");
    assertEquals((await drill.exited).code, 129);
    await gone;
  });

  test("the signal command", async () => {
    const drill = startDrill(
      ...["--target", "http://127.0.0.1:9", "--between", "0.1"],
      ...["--signal-command", quoted(badServer("well"))],
    );
    const { gone } = await callFrom(drill);
    drill.signal("SIGTERM");
    assertEquals((await drill.exited).code, 143);
    await gone;
  });

  test("not before it is over, where nobody reads any more", async () => {
    const drill = startDrill(
      ...[...server, "--restarts", "1", "--between", "0.3"],
      ...["--max-dropped", "1000"],
    );
    const { gone } = await callFrom(drill);
    drill.closeOutput();
    assertEquals((await drill.exited).code, 0);
    await gone;
  });
});

function startDrill(...args: string[]): Process {
  makeFolder();
  return new Process([...drillCommandLine(), ...outputs, ...args], { env });
}

test("a line that names the port is no echo of the command", () => {
  const says = (line: string) => saysPort(line, 3000);
  assert(says("listening on http://127.0.0.1:3000/"));
  assert(says('{"port":3000}'));
  assert(!says("listening on 13000, 30001"));
  assert(!says("> node server.js 3000"), "npm's echo, and pnpm's");
  assert(!says("$ node server.js 3000"), "Bun's echo, and yarn's");
});
