/**
 * Whatever a client sends: never a 500, never a hang, and the server serves on.
 * `SEED=…` repeats a run, `CASES=…` makes it longer.
 */
import { after, test } from "node:test";
import { Buffer } from "node:buffer";
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { encodeCursor } from "../../src/bookmarks/cursor.ts";
import { Cut, text } from "../support/raw_client.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import { startApp } from "./app_process.ts";
import {
  kinds,
  missing,
  sqlite,
  withDatabase,
} from "../../tests/bookmarks/databases.ts";
import {
  type Ask,
  type InProcess,
  memoryApp,
  openApp,
} from "../../tests/bookmarks/in_process.ts";
import { Random, seed } from "./random.ts";

const cases = Number(process.env.CASES || 1000);
const timeout = 30_000 + cases * 50;
/** Nothing here takes a hundredth of it. */
const HANGS_AFTER = 10_000;

after(() => {
  killAll();
  removeScratch();
});

/** Texts that have been somebody's undoing. */
const nasty = [
  "",
  " ",
  "0",
  "-1",
  "1e309",
  "NaN",
  "null",
  "undefined",
  "__proto__",
  "constructor",
  "toString",
  "'; drop table bookmarks; --",
  '" or ""="',
  "%",
  "%00",
  "%ff%fe",
  "\\u0000",
  "../../etc/passwd",
  "{{7*7}}",
  "<script>alert(1)</script>",
  "ﷺ",
  "👩‍👩‍👧‍👦",
  "a\u0301",
  "\u202e",
  "\uffff",
  "x".repeat(3000),
];
/** No HTTP client would let these pass in a URL or a header. */
const nastier = ["\u0000", "\u001b[2J", "\ud800", "a\r\nb: c", "\t"];

class Fuzz {
  constructor(
    readonly random: Random,
    readonly ids: string[],
  ) {}

  #text(): string {
    const { random } = this;
    if (random.chance(0.7)) return random.one(nasty);
    if (random.chance(0.3)) return random.one(nastier);
    const length = random.between(1, 60);
    return Array.from(
      { length },
      () => String.fromCodePoint(random.between(0, 0x10ffff)),
    ).join("");
  }

  #value(depth = 0): unknown {
    const { random } = this;
    switch (random.between(0, depth > 3 ? 5 : 8)) {
      case 0:
        return null;
      case 1:
        return random.chance(0.5);
      case 2:
        return random.one([0, -0, 1e308, -1, 2 ** 53, 0.1]);
      case 3:
      case 4:
        return this.#text();
      case 5:
        return `https://example.com/${random.between(0, 99)}`;
      case 6:
        return Array.from(
          { length: random.between(0, 25) },
          () => this.#value(depth + 1),
        );
      default:
        return Object.fromEntries(
          Array.from(
            { length: random.between(0, 6) },
            () => [this.#key(), this.#value(depth + 1)],
          ),
        );
    }
  }

  #key(): string {
    const { random } = this;
    const known = ["url", "title", "tags", "id", "createdAt", "deleted_at"];
    return random.chance(0.7) ? random.one(known) : this.#text();
  }

  #body(): Body {
    const { random } = this;
    if (random.chance(0.1)) {
      return new Uint8Array(
        Array.from(
          { length: random.between(0, 500) },
          () => random.between(0, 255),
        ),
      );
    }
    if (random.chance(0.05)) return "[".repeat(random.between(1, 60_000));
    if (random.chance(0.05)) return `{"title":"${"x".repeat(100_000)}"}`;
    const good = { url: "https://example.com/", title: "x", tags: ["a"] };
    let json = JSON.stringify(
      random.chance(0.3)
        ? good
        : random.chance(0.6)
        ? { ...good, [this.#key()]: this.#value() }
        : this.#value(),
    );
    if (random.chance(0.2)) {
      const at = random.between(0, json.length);
      json = json.slice(0, at) + this.#text() + json.slice(at + 1);
    }
    if (random.chance(0.1)) json = json.replace(/"title"/, '"__proto__"');
    return json;
  }

  /** Mostly where the method leads somewhere. */
  #path(method: string): string {
    const { random } = this;
    const part = () => encodeURIComponent(wellFormed(this.#text()));
    if (random.chance(0.05)) return `/bookmarks/${part()}/${part()}`;
    const known = ["POST", "GET"].includes(method)
      ? random.chance(0.2)
      : random.chance(0.9);
    if (!known) {
      return random.chance(0.5) ? "/bookmarks" : `/bookmarks?${this.#query()}`;
    }
    const id = random.chance(0.8) ? random.one(this.ids) : part();
    return `/bookmarks/${id}`;
  }

  #query(): string {
    const { random } = this;
    const cursor = () =>
      random.chance(0.5)
        ? encodeCursor({
          createdAt: random.one([
            new Date(random.between(-1e12, 4e12)).toISOString(),
            new Date(random.between(-9e4, 9e4) * 9e10).toISOString(),
            "2026-13-45T99:99:99.999Z",
          ]),
          id: random.one([...this.ids, "0", "'"]),
        })
        : encodeURIComponent(wellFormed(this.#text()));
    return Array.from({ length: random.between(0, 4) }, () => {
      const name = random.one([
        "limit",
        "cursor",
        "__proto__",
        "a[b]",
        "%",
        "",
      ]);
      const value = name === "cursor"
        ? cursor()
        : random.chance(0.5)
        ? `${random.between(-5, 200)}`
        : encodeURIComponent(wellFormed(this.#text()));
      return random.chance(0.9) ? `${name}=${value}` : name;
    }).join("&");
  }

  request(): { method: string; path: string; init: Sent } {
    const { random } = this;
    const method = random.one([
      "GET",
      "POST",
      "POST",
      "PATCH",
      "PATCH",
      "DELETE",
      "HEAD",
      "PUT",
      "OPTIONS",
    ]);
    const headers: Record<string, string> = {};
    const odd = [
      "application/json; charset=utf-16",
      "application/jsonp",
      "multipart/form-data; boundary=x",
      "text/plain",
      ";",
      undefined,
    ];
    const type = random.chance(0.8) ? "application/json" : random.one(odd);
    if (type !== undefined) headers["Content-Type"] = type;
    for (
      const name of ["Accept", "X-Request-Id", "Cookie", "Accept-Encoding"]
    ) {
      if (random.chance(0.1)) headers[name] = headerValue(this.#text());
    }
    const hasBody = method !== "GET" && method !== "HEAD";
    const body = hasBody ? this.#body() : undefined;
    const init = { headers, ...(body === undefined ? {} : { body }) };
    return { method, path: this.#path(method), init };
  }
}

type Body = string | Uint8Array<ArrayBuffer>;

interface Sent {
  headers: Record<string, string>;
  body?: Body;
}

const wellFormed = (text: string) => Buffer.from(text).toString();
/** What fetch would refuse to send as a header is left to the raw bytes. */
const headerValue = (text: string) =>
  text.replace(/[^\x20-\x7e]/g, "").trim().slice(0, 1000);

async function inTime<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} hangs`)), HANGS_AFTER);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function fuzz(ask: Ask): Promise<void> {
  const statuses = new Map<number, number>();
  const ids = ["00000000-0000-4000-8000-000000000000"];
  const maker = new Fuzz(new Random(seed), ids);
  for (let number = 0; number < cases; number++) {
    const { method, path, init } = maker.request();
    const what = `SEED=${seed}, case ${number}: ${method} ${
      path.slice(0, 200)
    }`;
    const answer = await inTime(what, ask(path, { method, ...init }));
    const body = await inTime(what, answer.text());
    const { status } = answer;
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    assert(status < 500, `${what} was answered ${status}: ${body}`);
    if (status === 201) ids.push(JSON.parse(body).id);
    if (status === 422 && method !== "HEAD") {
      assert(JSON.parse(body).errors.length > 0, `${what}: ${body}`);
    }
  }
  console.log(
    `SEED=${seed}: ${
      [...statuses].toSorted().map(([status, count]) => `${count} × ${status}`)
        .join(", ")
    }`,
  );
  // Chance must have found its way everywhere, or it proves little.
  for (const status of [200, 201, 204, 400, 404, 413, 415, 422]) {
    if (cases >= 1000) assert(statuses.has(status), `no ${status} at all`);
  }
  const list = await ask("/bookmarks?limit=1");
  assertEquals(list.status, 200);
}

async function fuzzInProcess(app: InProcess): Promise<void> {
  await fuzz(app.ask);
  await app.stop();
}

test("no request is too much in process, in memory", { timeout }, async () => {
  await fuzzInProcess(memoryApp());
});

for (const kind of kinds) {
  test(
    `no request is too much in process, on ${kind}`,
    {
      timeout,
      skip: missing(kind),
    },
    () =>
      withDatabase(
        kind,
        async (database) => fuzzInProcess(await openApp(database)),
      ),
  );
}

const served = sqlite ? "SQLite" : "Postgres";

test(`no request is too much over HTTP, on ${served}`, {
  timeout,
  skip: missing(served),
}, () =>
  withDatabase(served, async (database) => {
    const { url, folder } = database.here;
    const server = await startApp({ DATABASE_URL: url }, folder);
    await fuzz((path, init) => fetch(`${server.url}${path}`, init));
    await seeOut(server);
  }));

test(`no bytes are too much over HTTP, on ${served}`, {
  timeout,
  skip: missing(served),
}, () =>
  withDatabase(served, async (database) => {
    const { url, folder } = database.here;
    const server = await startApp({ DATABASE_URL: url }, folder);
    const random = new Random(seed);
    const maker = new Fuzz(random, []);
    for (let number = 0; number < cases / 5; number++) {
      const { method, path, init: { headers, body } } = maker.request();
      // Our client takes the length of a HEAD's answer for a body to come.
      if (method === "HEAD") continue;
      const bytes = Buffer.from(body ?? "");
      // No digit: a longer Content-Length is a good reason to wait for more.
      const dirt = () =>
        random.chance(0.1) ? random.one([...nasty, ...nastier].slice(3)) : "";
      const head = [
        `${method} ${path}${dirt()} HTTP/1.1`,
        `Host: localhost${dirt()}`,
        `Content-Length: ${bytes.length}${dirt()}`,
        ...Object.entries(headers).map(([name, value]) =>
          `${name}${dirt()}: ${value}${dirt()}`
        ),
        ...(random.chance(0.1) ? [`X-Dirt: ${random.one(nastier)}`] : []),
      ].join("\r\n");
      const what = `SEED=${seed}, case ${number}: ${
        JSON.stringify(head.slice(0, 300))
      }`;
      const client = await server.connect();
      await client.write(
        Buffer.concat([Buffer.from(`${head}\r\n\r\n`), bytes]),
      );
      try {
        const { status } = await inTime(what, client.response());
        assert(
          status < 500 || status === 501 || status === 505,
          `${what}: ${status}`,
        );
      } catch (error) {
        // To hang up is an answer to what is no HTTP.
        if (!(error instanceof Cut)) throw error;
      }
      client.leave();
    }
    const client = await server.connect();
    const list = await client.get("/bookmarks?limit=1");
    assertEquals(list.status, 200, text(list));
    client.leave();
    await seeOut(server);
  }));

async function seeOut(server: Awaited<ReturnType<typeof startApp>>) {
  server.signal("SIGTERM");
  assertEquals((await server.exited).code, 0, server.describe());
  assertEquals(server.output("stderr"), "");
}
