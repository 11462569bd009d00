import { assert, assertEquals, assertMatch } from "@std/assert";
import { getLogger, withContext } from "@logtape/logtape";
import { describe, test } from "node:test";
import { type LoggingOptions, openLog } from "../src/kit/logging.ts";

function open(options: Partial<LoggingOptions> = {}) {
  const lines: string[] = [];
  const { log } = openLog({
    level: "debug",
    pretty: false,
    colors: false,
    print: (line) => void lines.push(line),
    ...options,
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? "null") };
}

/** Everything that moves a terminal's cursor, or hides what it shows. */
// deno-lint-ignore no-control-regex
const UNSEEN = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/;

describe("a JSON line", () => {
  test("has one shape, from the engine and from the app", () => {
    const { log, lines, last } = open();
    log({ level: "warn", message: "request cut", path: "/never", ageMs: 3 });
    const engine = last();
    getLogger(["orders", "mail"]).warn("mail lost", { to: "nobody" });
    const app = last();
    for (const line of [engine, app]) {
      assertEquals(Object.keys(line).slice(0, 4), [
        "time",
        "level",
        "logger",
        "message",
      ]);
      assertEquals(new Date(line.time).toISOString(), line.time);
      assertEquals(line.level, "warn");
    }
    assertEquals([engine.logger, engine.message], ["server", "request cut"]);
    assertEquals([engine.path, engine.ageMs], ["/never", 3]);
    assertEquals([app.logger, app.to], ["orders.mail", "nobody"]);
    assertEquals(lines.length, 2);
  });

  test("keeps its head, whatever its fields are called", () => {
    const { last } = open();
    const fields = { level: "x", time: "x", message: "x", logger: "x", id: 1 };
    getLogger("orders").info("order placed", fields);
    const { level, logger, message, time, id } = last();
    assertEquals([level, logger, message, id], [
      "info",
      "orders",
      "order placed",
      1,
    ]);
    assert(time !== "x");
  });

  test("has errors with their stack and cause, and what JSON lacks", () => {
    const { last } = open();
    const error = new Error("outer", { cause: new TypeError("inner") });
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    getLogger("orders").error("failed", { error, big: 12345678901234567890n });
    assertEquals(last().error.message, "outer");
    assertEquals(last().error.stack, error.stack);
    assertEquals(last().error.cause.name, "TypeError");
    assertEquals(last().big, "12345678901234567890");
    getLogger("orders").error("went round", { circle, id: 7 });
    assertEquals([last().message, last().id], ["went round", 7]);
  });

  test("has the fields of its context", () => {
    const { last } = open();
    withContext({ requestId: "r1" }, () => getLogger("orders").info("placed"));
    assertEquals(last().requestId, "r1");
  });

  test("takes the engine's words as they are, braces too", () => {
    const { log, last } = open();
    log({ level: "info", message: "job {name} failed", name: "prune" });
    assertEquals(last().message, "job {name} failed");
  });
});

describe("what tells of dropped lines", () => {
  const lost = { lines: 3, bytes: 600 };
  const told = (pretty: boolean) => {
    let line = "";
    const { log } = open({
      pretty,
      print: (_, describeLost) => void (line = describeLost!(lost)),
    });
    log({ level: "info", message: "whatever it is that comes next" });
    return line;
  };

  test("is a line like any other", () => {
    const { time, ...line } = JSON.parse(told(false));
    assertEquals(new Date(time).toISOString(), time);
    assertEquals(line, {
      level: "warn",
      logger: "server",
      message: "log lines dropped",
      count: 3,
      bytes: 600,
    });
    assertMatch(told(true), / WARN +log lines dropped count=3 bytes=600$/);
  });
});

test("access lines wait for others, but not for many", () => {
  const { lines } = open();
  const line = () => getLogger("access").info("answered", { path: "/x" });
  line();
  assertEquals(lines.length, 0);
  for (let n = 0; n < 2000; n++) line();
  assert(lines.length > 1, `${lines.length} writes`);
  for (const text of lines) {
    assert(text.length < 70_000, `${text.length} characters at once`);
  }
});

for (const pretty of [false, true]) {
  test(`no ${pretty ? "pretty" : "JSON"} line is below its level`, () => {
    const { log, lines } = open({ level: "warn", pretty });
    for (const level of ["debug", "info", "warn", "error"] as const) {
      log({ level, message: level });
      getLogger("app")[level](level);
    }
    assertEquals(lines.length, 4);
  });

  test(`nothing that was logged can steer a terminal, ${pretty ? "pretty" : "JSON"}`, () => {
    const { log, lines } = open({ pretty });
    const evil = '\r\n\x1b[2J\x9b31m\x7f\u2028\u202e","level":"x';
    log({ level: "error", message: evil, name: evil, [evil]: evil });
    getLogger("app").info("{evil}", { evil, nested: { [evil]: [evil] } });
    assertEquals(lines.length, 2);
    for (const line of lines) {
      assert(!UNSEEN.test(line), JSON.stringify(line));
      assert(!line.includes("\n"), JSON.stringify(line));
    }
  });
}

describe("a pretty line", () => {
  test("has time, level, message and fields, and no colour unless asked", () => {
    const { log, lines } = open({ pretty: true });
    const url = "http://localhost:3000";
    log({
      level: "info",
      message: "server listening",
      url,
      of: [1, "two words"],
    });
    assertMatch(
      lines[0]!,
      /^\d\d:\d\d:\d\d\.\d{3} INFO +server listening url=http:\/\/localhost:3000 of=\[1,"two words"\]$/,
    );
  });

  test("with colours is the same text", () => {
    const { log, lines } = open({ pretty: true, colors: true });
    log({ level: "error", message: "failed", name: "\x1b[0mx" });
    // deno-lint-ignore no-control-regex
    assertMatch(lines[0]!, /\x1b\[31m/);
    // deno-lint-ignore no-control-regex
    const bare = lines[0]!.replaceAll(/\x1b\[\d+m/g, "");
    assertMatch(
      bare,
      /^\d\d:\d\d:\d\d\.\d{3} ERROR +failed name="\\u001b\[0mx"$/,
    );
  });

  test("has the stack below it, indented", () => {
    const { log, lines } = open({ pretty: true });
    const stack = "Error: a\n    at b\x1b[2J\n    at c";
    log({ level: "error", message: "failed", error: "a", stack });
    const [head, ...rest] = lines[0]!.split("\n");
    assertMatch(head!, /ERROR +failed error=a$/);
    assertEquals(rest, ["    Error: a", "    at b\\u001b[2J", "    at c"]);
  });
});
