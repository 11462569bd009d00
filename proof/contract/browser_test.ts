/** The shutdown as a real browser sees it. */
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import process from "node:process";
import { assertEquals } from "@std/assert";
import { which } from "../../scripts/which.js";
import { makeCertificate } from "../support/certificate.ts";
import { clause, Skip } from "../support/clause.ts";
import { endedClean } from "../support/expect.ts";
import {
  type Env,
  Process,
  scratchFolder,
  startFixture,
} from "../support/server_process.ts";

/** What the fixture's page tells, in order. */
class Reports {
  readonly all: Record<string, unknown>[] = [];
  #watchers = new Set<() => void>();
  #isOver = false;
  #server = http.createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (data) => body += data);
    request.on("end", () => {
      if (body) this.all.push(JSON.parse(body));
      response.end();
      for (const look of [...this.#watchers]) look();
    });
  });

  async listen(): Promise<string> {
    await new Promise<void>((resolve) =>
      this.#server.listen(0, "127.0.0.1", () => resolve())
    );
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}/`;
  }

  /** Resolves with the report, past or to come. */
  next(what: string, nth = 1): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.all.filter((report) => report.what === what);
        if (found.length >= nth) resolve(found[nth - 1]!);
        else if (this.#isOver) {
          reject(new Error(`the browser ended before "${what}"`));
        } else return;
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** Nobody is there any more who could report. */
  over(): void {
    this.#isOver = true;
    for (const look of [...this.#watchers]) look();
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

function findChromium(): string {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    const found = which(name);
    if (found) return found;
  }
  const why = "there is no Chromium; install Debian's package chromium";
  throw process.env.CI === "true" ? new Error(why) : new Skip(why);
}

clause(
  "N5",
  "a browser's WebSocket sees 1001, its EventSource the last event, and both come back after a restart",
  async ({ step }) => {
    const chromium = findChromium();
    const { cert, key } = makeCertificate();
    const views: [string, string, Env][] = [
      ["over http", "http/1.1", {}],
      ["over https", "h2", { TLS_CERT: cert, TLS_KEY: key }],
    ];
    for (const [how, protocol, env] of views) {
      await step(`headless Chromium ${how}`, async () => {
        const reports = new Reports();
        const to = await reports.listen();
        const server = await startFixture(env);
        const profile = fs.mkdtempSync(path.join(scratchFolder(), "chromium-"));
        const browser = new Process([
          chromium,
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--disable-dev-shm-usage",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync",
          "--no-first-run",
          // The server's is made on the spot, and nobody's authority signed it.
          "--ignore-certificate-errors",
          `--user-data-dir=${profile}`,
          `${server.url}/page?to=${encodeURIComponent(to)}`,
        ]);
        // A step that takes too long ends the browser, and has to end here.
        void browser.exited.then(() => reports.over());
        try {
          assertEquals((await reports.next("loaded")).protocol, protocol);
          await reports.next("socket opened");
          await reports.next("hello");
          server.signal("SIGTERM");
          assertEquals(await reports.next("socket closed"), {
            what: "socket closed",
            code: 1001,
            reason: "server is shutting down",
            wasClean: true,
          });
          assertEquals(await reports.next("shutdown"), {
            what: "shutdown",
            data: "the server is shutting down",
          });
          await endedClean(server);

          const next = await startFixture({ ...env, PORT: server.port });
          await reports.next("socket opened", 2);
          await reports.next("hello", 2);
          next.signal("SIGTERM");
          assertEquals((await reports.next("socket closed", 2)).code, 1001);
          await reports.next("shutdown", 2);
          await endedClean(next);
        } finally {
          browser.kill();
          await browser.exited;
          reports.close();
        }
      });
    }
  },
);
