/**
 * A Host that is none chooses no path behind the balancers, whatever the runtime
 * makes of it: a rule of theirs that looks at the path is not passed by.
 */
import { assert, assertEquals } from "@std/assert";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import { RawClient } from "../support/raw_client.ts";
import {
  commandFor,
  fixture,
  killAll,
  Process,
  removeScratch,
  ServerProcess,
} from "../support/server_process.ts";
import { which } from "../../scripts/which.js";

const folder = mkdtempSync(join(tmpdir(), "lastcall-host-"));
afterEach(killAll);
after(() => {
  removeScratch();
  rmSync(folder, { recursive: true });
});

/** Not reserved: nobody else takes it in the meantime, as a rule. */
async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve())
  );
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The shipped file, with one change. */
function shipped(file: string, from: string, to: string): string {
  const text = readFileSync(`deploy/${file}`, "utf8");
  assert(text.includes(from), `${file} lacks ${from}`);
  return text.replaceAll(from, to);
}

async function startHaproxy(port: number, app: number): Promise<void> {
  const file = join(folder, "haproxy.cfg");
  const rule = "    http-request deny if { path_beg /slow }\n";
  const own = "    default_backend app";
  writeFileSync(file, shipped("haproxy.cfg", own, rule + own));
  const place = `127.0.0.1:${app}`;
  const env = { BIND: `127.0.0.1:${port}`, APP1: place, APP2: place };
  const haproxy = new Process(["haproxy", "-f", file], { env });
  await haproxy.line("that it looks", ({ text }) => /app1 is DOWN/.test(text));
}

async function startNginx(port: number, app: number): Promise<void> {
  const rule = "    location /slow { return 403; }\n";
  const own = "    listen 8080;";
  const text = shipped(
    "nginx.conf",
    own,
    `    listen 127.0.0.1:${port};\n${rule}`,
  ).replace(/server 127\.0\.0\.1:300\d/g, `server 127.0.0.1:${app}`);
  writeFileSync(join(folder, "lastcall.conf"), text);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(folder, name)};`);
  const main = join(folder, "nginx.conf");
  writeFileSync(
    main,
    `daemon off; pid ${join(folder, "nginx.pid")}; error_log stderr notice;
    events {} http { access_log off; ${temporary.join(" ")}
    include ${join(folder, "lastcall.conf")}; }`,
  );
  const nginx = new Process(["nginx", "-p", folder, "-c", main]);
  await nginx.line(
    "that it serves",
    ({ text }) => text.includes("start worker process "),
  );
}

const good = [
  "localhost",
  "localhost:8080",
  "www.example.com",
  "127.0.0.1:8080",
  "[::1]:8080",
  "app_1",
];
const bad = [
  "localhost/slow?",
  "localhost/slow#",
  "localhost\\slow?",
  "localhost,localhost/slow?",
  "user@localhost",
  "localhost:80/slow?",
  "[",
  "::1",
  "%zz",
  "a b",
  "localhost\r\nHost: localhost/slow?",
];

for (
  const [name, start] of Object.entries({
    haproxy: startHaproxy,
    nginx: startNginx,
  })
) {
  test(`behind ${name} a Host that is none chooses no path`, {
    skip: which(name) ? false : `${name} is not installed`,
  }, async () => {
    const [port, app] = [await freePort(), await freePort()];
    await start(port, app);
    const env = { PORT: app };
    const server = new ServerProcess(await commandFor(fixture, env), { env });
    await server.listening();
    const ask = async (path: string, host: string) => {
      const client = await RawClient.connect(port);
      await client.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      const { status } = await client.response();
      client.leave();
      return status;
    };
    // The balancer has seen it, too.
    while (await ask("/", "localhost") !== 200);
    assertEquals(await ask("/slow", "localhost"), 403, "the rule holds");

    for (const host of good) assertEquals(await ask("/", host), 200, host);
    for (const host of bad) {
      const status = await ask("/", host);
      // nginx hands on only what it takes for a name: "[" and the like.
      if (name === "haproxy") assertEquals(status, 400, host);
      assertEquals(server.printed("handling"), [], host);
    }
    server.signal("SIGTERM");
    assertEquals((await server.exited).code, 0, server.describe());
  });
}
