// What a drill makes of what happens to a request: each sequence of events is
// written by hand, and time moves only when a test says so.
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { describe, test } from "node:test";
import { Connection, type Wire } from "../drill/connection.js";
import { type Evidence, judge, ownTrouble, UNACCEPTED } from "../drill/fate.js";
import { Load } from "../drill/load.js";
import { Problem } from "../drill/problem.js";
import { ResponseReader } from "../drill/response_reader.js";
import { FakeClock, settle } from "#lastcall/testing";

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const bytes = (text: string) => new TextEncoder().encode(text);

/** A socket whose other end is the test. */
class FakeWire implements Wire {
  written: string[] = [];
  destroyed = false;
  /** What the system says of the next write. */
  writeError: Error | undefined;
  readonly #listeners = new Map<string, (arg: unknown) => void>();

  on(event: string, listener: (arg: unknown) => void): void {
    this.#listeners.set(event, listener);
  }

  write(
    text: string | Uint8Array,
    written: (error?: Error | null) => void,
  ): void {
    this.written.push(
      typeof text === "string" ? text : new TextDecoder().decode(text),
    );
    written(this.writeError);
  }

  destroy(): void {
    this.destroyed = true;
  }

  emit(event: string, arg?: unknown): void {
    this.#listeners.get(event)?.(arg);
  }

  fail(code: string): void {
    this.emit("error", Object.assign(new Error(code), { code }));
    this.emit("close");
  }
}

function setup() {
  const clock = new FakeClock();
  const wire = new FakeWire();
  let closed = 0;
  const connection = new Connection(wire, clock, () => closed++);
  let evidence: Evidence | undefined;
  const send = () => {
    evidence = undefined;
    const deadline = clock.now() + 1000;
    void connection.send("GET", "GET / HTTP/1.1\r\n\r\n", deadline)
      .then((over) => evidence = over);
  };
  /** The request before, so that the connection is a kept one. */
  const keep = async () => {
    send();
    wire.emit("connect");
    wire.emit("data", bytes(OK));
    await settle();
  };
  const fate = async () => {
    await settle();
    if (!evidence) return undefined;
    const { fate, cause } = judge(evidence);
    return cause ? `${fate}: ${cause}` : fate;
  };
  return {
    clock,
    wire,
    connection,
    send,
    keep,
    fate,
    evidence: () => evidence,
    closed: () => closed,
  };
}

describe("answered", () => {
  test("a whole answer, and its connection is kept", async () => {
    const { wire, send, fate, closed } = setup();
    send();
    wire.emit("connect");
    assertEquals(wire.written.length, 1);
    assertEquals(await fate(), undefined);
    wire.emit("data", bytes(OK.slice(0, 20)));
    assertEquals(await fate(), undefined);
    wire.emit("data", bytes(OK.slice(20)));
    assertEquals(await fate(), "answered");
    assertEquals(closed(), 0);
  });

  test("one that says Connection: close ends its connection", async () => {
    const { wire, send, fate, closed, connection } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes(OK.replace("\r\n", "\r\nConnection: close\r\n")));
    assertEquals(await fate(), "answered");
    assertEquals(closed(), 1);
    assertEquals(connection.closedBy, "drill");
    assertEquals(wire.destroyed, true);
  });

  test("one that ends with its connection", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes("HTTP/1.1 200 OK\r\n\r\nall there is"));
    assertEquals(await fate(), undefined);
    wire.emit("end");
    assertEquals(await fate(), "answered");
  });

  test("a reset after the last byte takes nothing back", async () => {
    const { wire, send, fate, closed } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes(OK));
    wire.fail("ECONNRESET");
    assertEquals(await fate(), "answered");
    assertEquals(closed(), 1);
  });

  test("with a wrong status", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes(OK.replace("200 OK", "503 Busy")));
    assertEquals(await fate(), "wrong status: answered with 503");
  });
});

describe("refused", () => {
  test("nobody was listening", async () => {
    const { wire, send, fate, closed } = setup();
    send();
    wire.fail("ECONNREFUSED");
    assertEquals(await fate(), "refused: nobody was listening");
    assertEquals(closed(), 1);
  });

  test("the network's reason is named", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.fail("EHOSTUNREACH");
    assertEquals(
      await fate(),
      "refused: no connection came about (EHOSTUNREACH)",
    );
  });
});

describe("no fate at all", () => {
  test("what keeps the drill itself from connecting", async () => {
    for (
      const [code, remedy] of [
        ["EMFILE", "ulimit -n"],
        ["ENFILE", "fewer --connections"],
        ["ENOTFOUND", "check the name in --target"],
        ["EAI_AGAIN", "check the name in --target"],
        ["EADDRNOTAVAIL", "a lower --rate"],
        ["ENOBUFS", "a lower --rate"],
        ["EINVAL", "a lower --rate"], // what Deno calls EADDRNOTAVAIL
      ] as const
    ) {
      const { wire, send, evidence } = setup();
      send();
      wire.fail(code);
      await settle();
      const trouble = ownTrouble(evidence()!) ?? "";
      assertStringIncludes(trouble, `could not connect (${code})`);
      assertStringIncludes(trouble, remedy);
    }
  });

  test("and nothing that a client would meet", async () => {
    for (const code of ["ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH"]) {
      const { wire, send, evidence } = setup();
      send();
      wire.fail(code);
      await settle();
      assertEquals(ownTrouble(evidence()!), undefined);
    }
  });
});

describe("dropped", () => {
  test("the answer ends in the middle", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes(OK.slice(0, 30)));
    wire.emit("end");
    assertEquals(
      await fate(),
      "dropped: the connection ended after 30 bytes of the answer",
    );
  });

  test("the answer is cut by a reset, also on a kept connection", async () => {
    const { wire, keep, send, fate } = setup();
    await keep();
    send();
    wire.emit("data", bytes(OK.slice(0, 5)));
    wire.fail("ECONNRESET");
    assertEquals(
      await fate(),
      "dropped: the connection was reset after 5 bytes of the answer",
    );
  });

  test("an answer until the end of its connection is cut by a reset", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes("HTTP/1.1 200 OK\r\n\r\nhalf"));
    wire.fail("ECONNRESET");
    assertMatch(await fate() ?? "", /^dropped: the connection was reset/);
  });

  test("read on a kept connection, which then ends without a reset", async () => {
    const { clock, wire, keep, send, fate, connection } = setup();
    await keep();
    send();
    await clock.advance(3);
    wire.emit("end");
    assertEquals(await fate(), undefined, "it is to be found out");
    await clock.advance(20);
    assertEquals(wire.written.length, 3, "by one more write");
    assertEquals(await fate(), "dropped: it was read, and never answered");
    assertEquals(connection.closedAt, 3);
    assertEquals(connection.closedBy, "server");
  });

  test("what follows the finding out changes nothing", async () => {
    const { clock, wire, keep, send, fate } = setup();
    await keep();
    send();
    wire.emit("end");
    await clock.advance(20);
    wire.fail("EPIPE");
    assertEquals(await fate(), "dropped: it was read, and never answered");
  });

  test("a new connection is reset: the accept queue", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.emit("connect");
    wire.fail("ECONNRESET");
    assertEquals(await fate(), `dropped: ${UNACCEPTED}`);
  });

  test("... also where the reset is there before we know of a connection", async () => {
    const { wire, send, fate } = setup();
    send();
    wire.fail("ECONNRESET");
    assertEquals(await fate(), `dropped: ${UNACCEPTED}`);
  });

  test("a new connection is closed before its request arrives", async () => {
    const { clock, wire, send, fate } = setup();
    send();
    wire.emit("connect");
    wire.emit("end");
    wire.writeError = new Error("EPIPE");
    await clock.advance(20);
    assertEquals(await fate(), "dropped: a new connection was closed unused");
  });

  test("a reset long after the sending was no race", async () => {
    const { clock, wire, keep, send, fate } = setup();
    await keep();
    send();
    await clock.advance(21);
    wire.fail("ECONNRESET");
    assertEquals(
      await fate(),
      "dropped: the connection was reset in place of an answer",
    );
  });

  test("what came is not HTTP", async () => {
    const { wire, send, fate, closed } = setup();
    send();
    wire.emit("connect");
    wire.emit("data", bytes("SSH-2.0-OpenSSH\r\n"));
    assertEquals(
      await fate(),
      'dropped: what came is no HTTP/1.1 response: "SSH-2.0-OpenSSH"',
    );
    assertEquals(closed(), 1);
  });
});

describe("raced", () => {
  test("the kept connection was closed before the request arrived", async () => {
    const { clock, wire, keep, send, fate } = setup();
    await keep();
    send();
    await clock.advance(40);
    wire.emit("end");
    wire.writeError = new Error("EPIPE");
    await clock.advance(20);
    assertEquals(
      await fate(),
      "raced: the kept connection had just been closed",
    );
  });

  test("... as Bun tells it: an error right after the end", async () => {
    const { wire, keep, send, fate } = setup();
    await keep();
    send();
    wire.emit("end");
    wire.fail("EPIPE");
    assertEquals(
      await fate(),
      "raced: the kept connection had just been closed",
    );
  });

  test("the kept connection was reset as the request was sent", async () => {
    const { clock, wire, keep, send, fate } = setup();
    await keep();
    send();
    await clock.advance(20);
    wire.fail("ECONNRESET");
    assertEquals(
      await fate(),
      "raced: the kept connection was reset in that moment",
    );
  });

  test("a slow way allows for a longer moment", async () => {
    const { clock, wire, send, fate } = setup();
    send();
    await clock.advance(100);
    wire.emit("connect");
    wire.emit("data", bytes(OK));
    await settle();
    send();
    await clock.advance(115);
    wire.fail("ECONNRESET");
    assertMatch(await fate() ?? "", /^raced/);
  });

  test("the request could not even be sent", async () => {
    const { wire, keep, send, fate } = setup();
    await keep();
    wire.writeError = new Error("EPIPE");
    send();
    wire.fail("EPIPE");
    assertEquals(await fate(), "raced: the kept connection closed before it");
  });

  test("a connection that closes while nobody waits costs no request", async () => {
    const { wire, keep, fate, closed, connection } = setup();
    await keep();
    wire.emit("end");
    assertEquals(await fate(), "answered");
    assertEquals(closed(), 1);
    assertEquals(connection.closedBy, "server");
  });
});

describe("timed out", () => {
  test("no connection, no answer, half an answer", async () => {
    for (
      const [events, cause] of [
        [[], "no connection came about"],
        [["connect"], "not a byte of an answer came"],
        [["connect", OK.slice(0, 9)], "only 9 bytes of the answer came"],
      ] as const
    ) {
      const { clock, wire, send, fate, closed, evidence } = setup();
      send();
      for (const event of events) {
        if (event === "connect") wire.emit("connect");
        else wire.emit("data", bytes(event));
      }
      await clock.advance(999);
      assertEquals(await fate(), undefined);
      await clock.advance(1);
      assertEquals(await fate(), `timed out: ${cause}`);
      assertEquals(evidence()?.endedAt, 1000);
      assertEquals(closed(), 1, "nothing more can be expected of it");
      assertEquals(clock.waiting, 0);
    }
  });
});

describe("the reader of responses", () => {
  const read = (text: string, method = "GET", ends = false) => {
    // In one piece and byte by byte: the same.
    const results = [text.length, 1].map((step) => {
      const reader = new ResponseReader(method);
      for (let at = 0; at < text.length; at += step) {
        reader.push(bytes(text.slice(at, at + step)));
      }
      if (ends) reader.end();
      const { status, whole, keepAlive, broken } = reader;
      return { status, whole, keepAlive, broken };
    });
    assertEquals(results[0], results[1]);
    return results[0]!;
  };
  const whole = { status: 200, whole: true, keepAlive: true, broken: "" };
  const head = (...lines: string[]) =>
    ["HTTP/1.1 200 OK", ...lines, "", ""].join("\r\n");

  test("by length", () => {
    assertEquals(read(head("Content-Length: 5") + "hello"), whole);
    assertEquals(read(head("content-length:0")), whole);
    assertEquals(read(head("Content-Length: 5") + "hell").whole, false);
  });

  test("by chunks", () => {
    const chunked = head("Transfer-Encoding: chunked");
    const body = "5\r\nhello\r\nA;note=1\r\n0123456789\r\n0\r\n";
    assertEquals(read(chunked + body + "\r\n"), whole);
    assertEquals(read(chunked + body + "Checked: yes\r\n\r\n"), whole);
    assertEquals(read(chunked + body).whole, false);
    assertMatch(read(chunked + "hello\r\n").broken, /chunk size of "hello"/);
  });

  test("without a body", () => {
    assertEquals(read(head("Content-Length: 5"), "HEAD"), whole);
    const none = read("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n");
    assertEquals(none, { ...whole, status: 304 });
  });

  test("until the end of the connection", () => {
    const ended = read(head("Content-Type: text/plain") + "all", "GET", true);
    assertEquals(ended, { ...whole, keepAlive: false });
    assertEquals(read(head() + "all").whole, false);
  });

  test("after an interim one", () => {
    const interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assertEquals(read(interim + head("Content-Length: 0")), whole);
  });

  test("and whether the connection may be used again", () => {
    const empty = "Content-Length: 0";
    const kept = (...lines: string[]) => read(head(...lines)).keepAlive;
    assertEquals(kept(empty, "Connection: close"), false);
    assertEquals(kept(empty, "Connection: Upgrade, Close"), false);
    const old = head(empty).replace("1.1", "1.0");
    assertEquals(read(old).keepAlive, false);
    const kindly = head(empty, "Connection: keep-alive").replace("1.1", "1.0");
    assertEquals(read(kindly).keepAlive, true);
    assertEquals(read(head(empty) + "more").keepAlive, false);
  });

  test("and keeps the beginning of what a refusal says", () => {
    const said = (text: string, step: number) => {
      const reader = new ResponseReader("GET");
      const all = new TextEncoder().encode(text);
      for (let at = 0; at < all.length; at += step) {
        reader.push(all.subarray(at, at + step));
      }
      return reader.said;
    };
    const refusal = (status: string, body: string) =>
      `HTTP/1.1 ${status}\r\nContent-Length: ` +
      `${new TextEncoder().encode(body).length}\r\n\r\n${body}`;
    for (const step of [1, 7, 10_000]) {
      assertEquals(
        said(refusal("503 Busy", "zu sp\u00e4t"), step),
        "zu sp\u00e4t",
      );
      assertEquals(said(refusal("200 OK", "fine"), step), "");
      const long = said(refusal("500 Oops", "x".repeat(5000)), step);
      assertEquals(long, "x".repeat(200));
    }
  });

  test("two lengths that differ are none", () => {
    const two = read(head("Content-Length: 5", "Content-Length: 6"));
    assertMatch(two.broken, /"5, 6"/);
  });
});

describe("the load", () => {
  function load(connections: number) {
    const clock = new FakeClock();
    const wires: FakeWire[] = [];
    const load = new Load({
      rate: 100,
      connections,
      mix: [{ method: "GET", path: "/", weight: 1 }],
      timeout: 1000,
      host: "server",
      clock,
      connect() {
        const wire = new FakeWire();
        wires.push(wire);
        return wire;
      },
    });
    return { clock, wires, load };
  }

  test("goes over its connections in turn and keeps them", async () => {
    const { clock, wires, load: one } = load(3);
    one.start();
    for (let sent = 1; sent <= 6; sent++) {
      await settle();
      const wire = wires[(sent - 1) % 3]!;
      if (sent <= 3) wire.emit("connect");
      wire.emit("data", bytes(OK));
      await clock.advance(10);
    }
    assertEquals(wires.length, 3);
    assertEquals(wires[0]!.written.length, 3, "the seventh is on its way");
    assertEquals(
      one.requests.map(({ connection, nth }) => [connection, nth]),
      [[0, 1], [1, 1], [2, 1], [0, 2], [1, 2], [2, 2]],
    );
  });

  test("tells what the first wrong answer said, and of the others the status", async () => {
    const { clock, wires, load: one } = load(1);
    one.start();
    await settle();
    wires[0]!.emit("connect");
    for (let sent = 1; sent <= 2; sent++) {
      const refusal = 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nno"\n';
      wires[0]!.emit("data", bytes(refusal));
      await clock.advance(10);
    }
    assertEquals(one.requests.map(({ cause }) => cause), [
      'answered with 503: "no\\""',
      "answered with 503",
    ]);
  });

  test("a stalled server is charged for all that it kept waiting", async () => {
    const { clock, wires, load: one } = load(1);
    one.start();
    wires[0]!.emit("connect");
    // Ten were due while the first had no answer.
    await clock.advance(95);
    assertEquals(wires[0]!.written.length, 1);
    for (let i = 0; i < 10; i++) {
      wires[0]!.emit("data", bytes(OK));
      await settle();
    }
    assertEquals(
      one.requests.map(({ due }) => due),
      [0, 10, 20, 30, 40, 50, 60, 70, 80, 90],
    );
    assertEquals(one.requests.map(({ ended }) => ended), Array(10).fill(95));
  });

  test("what never got a connection times out as well", async () => {
    const { clock, wires, load: one } = load(1);
    one.start();
    wires[0]!.emit("connect");
    await clock.advance(25);
    const stopped = one.stop();
    await clock.advance(2000);
    await stopped;
    assertEquals(
      one.requests.map(({ fate, cause, connection }) => [
        fate,
        cause,
        connection,
      ]),
      [
        ["timed out", "not a byte of an answer came", 0],
        ["timed out", "no connection came about", 1],
        ["timed out", "no connection came about", 2],
      ],
    );
  });

  test("a closed connection is followed by a new one", async () => {
    const { clock, wires, load: one } = load(1);
    one.start();
    wires[0]!.emit("connect");
    wires[0]!.emit("data", bytes(OK));
    await settle();
    wires[0]!.emit("end");
    await clock.advance(10);
    assertEquals(wires.length, 2);
    wires[1]!.fail("ECONNREFUSED");
    await clock.advance(10);
    assertEquals(wires.length, 3);
    assertEquals(one.requests.map(({ fate }) => fate), ["answered", "refused"]);
  });

  test("is given up where the drill itself cannot connect", async () => {
    const { clock, wires, load: one } = load(1);
    one.start();
    wires[0]!.fail("EMFILE");
    await assertRejects(() => one.trouble, Problem, "(EMFILE)");
    await clock.advance(100);
    assertEquals(wires.length, 1);
    assertEquals(one.requests, []);
  });
});
