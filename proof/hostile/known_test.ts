/**
 * What was found to end, starve or outlive a server, by name, on each runtime:
 * each is tried again before any fuzzing. A runtime that does not know what an
 * attack is about (HTTP/2 in plain text but for Deno) has to bear it too.
 *
 *   TABLE=1 npm run proof -- --only deno proof/hostile/known     the figures
 */
import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { runtime } from "../support/server_process.ts";
import { attack } from "./attack.ts";
import { Attacker } from "./attacker.ts";
import {
  Flag,
  frame,
  framesOf,
  get,
  headerBlock,
  hello,
  request,
  settings,
  Type,
  uint32,
} from "./frames.ts";
import { fixture, type Target } from "./target.ts";
import * as websocket from "./websocket_frames.ts";

const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

const host = "Host: localhost\r\n";
const chunked = "Transfer-Encoding: chunked\r\n";

/** All write, and each waits until something came back. */
async function all(
  attackers: Attacker[],
  bytes: string | Uint8Array,
): Promise<void> {
  await Promise.all(attackers.map(async (attacker) => {
    await attacker.write(bytes);
    await attacker.answered();
  }));
}

/** One request on a connection of its own; its status, if it had an answer. */
async function statusOf(
  target: Target,
  bytes: string,
): Promise<number | undefined> {
  const attacker = await target.dial();
  await attacker.write(bytes);
  await attacker.until(() => attacker.statuses.length > 0);
  attacker.leave();
  return attacker.statuses[0];
}

/** Bytes over and over, in writes of `batch`, as fast as they are taken. */
async function flood(
  attacker: Attacker,
  bytes: Uint8Array,
  times: number,
  batch = 500,
): Promise<void> {
  const many = Buffer.concat(Array.from({ length: batch }, () => bytes));
  for (let sent = 0; sent < times && !attacker.isOver; sent += batch) {
    if (!await taken(attacker, many)) return;
  }
}

/** Whether the peer took them; one that takes no more defends itself. */
function taken(attacker: Attacker, bytes: Uint8Array): Promise<boolean> {
  return Promise.race([
    attacker.write(bytes).then(() => true),
    delay(1_000).then(() => false),
  ]);
}

// ---- HTTP/1.1

for (const tls of [false, true]) {
  const where = tls ? "over TLS" : "in plain text";
  attack(
    `a version that HTTP/1.1 has not, ${where}`,
    { tls },
    async (target) => {
      for (const version of ["2.0", "3.0", "0.9", "1.2", "9.9"]) {
        for (const url of [target.url, target.admin]) {
          for (const more of ["", `Content-Length: 3\r\n\r\nabc`]) {
            const attacker = await target.dial(url);
            await attacker.write(`GET / HTTP/${version}\r\n${host}${more}\r\n`);
            await attacker.answered(500);
            attacker.leave();
          }
        }
      }
    },
  );
}

attack(
  "600 KB in chunks of one byte, to a route that reads none",
  {},
  (target) => oneByteChunks(target, "POST /"),
);
attack(
  "600 KB in chunks of one byte, to a route that reads them",
  { source: fixture },
  (target) => oneByteChunks(target, "POST /count"),
);

async function oneByteChunks(target: Target, line: string): Promise<void> {
  const attacker = await target.dial();
  await attacker.write(`${line} HTTP/1.1\r\n${host}${chunked}\r\n`);
  await flood(attacker, Buffer.from("1\r\na\r\n"), 100_000, 2_000);
  await attacker.write("0\r\n\r\n");
  await attacker.answered();
}

attack(
  "abandoned chunked uploads x50",
  { source: fixture },
  async (target) => {
    for (const line of ["POST /", "POST /count", "PUT /nowhere"]) {
      const many = await target.dialMany(50);
      await Promise.all(many.map(async (attacker) => {
        await attacker.write(
          `${line} HTTP/1.1\r\n${host}${chunked}\r\n5\r\nhello\r\n5\r\nhel`,
        );
        await delay(20); // the handler begins to read
        attacker.leave();
      }));
    }
  },
);

attack("CONNECT", {}, async (target) => {
  for (const to of ["/", "localhost:80", "a.example:443", "*", "http://a/"]) {
    const status = await statusOf(
      target,
      `CONNECT ${to} HTTP/1.1\r\n${host}\r\n`,
    );
    assert(status === undefined || status >= 400 && status < 500, `${status}`);
  }
});

attack("a Host that ends in a number", {}, async (target) => {
  for (const name of ["a.1", "1.2.3.256", "0x", "1.2.3.4.5", "a.0x1"]) {
    for (const line of ["GET /", "POST /"]) {
      const status = await statusOf(
        target,
        `${line} HTTP/1.1\r\nHost: ${name}\r\nContent-Length: 0\r\n\r\n`,
      );
      assert(status !== undefined && status < 500, `${name}: ${status}`);
    }
  }
});

attack("two Hosts", {}, async (target) => {
  for (const other of ["other", "localhost"]) {
    const status = await statusOf(
      target,
      `GET / HTTP/1.1\r\n${host}Host: ${other}\r\n\r\n`,
    );
    assertEquals(status, 400, `Host: localhost, Host: ${other}`);
  }
});

attack(
  "50,000 requests on one connection, all answers read",
  { warmUp: 10_000 },
  (target) => pipeline(target, false),
);
attack(
  "50,000 requests on one connection, no answer read",
  { warmUp: 10_000 },
  (target) => pipeline(target, true),
);

async function pipeline(target: Target, isDeaf: boolean): Promise<void> {
  const attacker = await target.dial();
  if (isDeaf) attacker.goDeaf();
  await flood(attacker, Buffer.from(`GET / HTTP/1.1\r\n${host}\r\n`), 50_000);
  if (isDeaf) return;
  await attacker.write(`GET / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
  await attacker.until(() => attacker.isOver, 20_000);
  assert(attacker.isOver, "not all were answered");
}

attack("uploads pipelined behind a slow answer", {}, async (target) => {
  const attacker = await target.dial();
  await attacker.write(`GET /slow?ms=1000 HTTP/1.1\r\n${host}\r\n`);
  const body = "x".repeat(60_000);
  const upload = `POST / HTTP/1.1\r\n${host}Content-Length: 60000\r\n\r\n` +
    body;
  await flood(attacker, Buffer.from(upload), 500, 10);
  await attacker.answered();
});

attack(
  "an upgrade that is refused x200, with bytes behind the answer",
  { source: fixture },
  async (target) => {
    const bad = websocket.upgrade("/ws").replace(": 13", ": 99");
    for (const bytes of [websocket.upgrade("/"), bad]) {
      const many = await target.dialMany(100);
      await all(many, bytes);
      await Promise.all(many.map((attacker) => attacker.write("more bytes")));
    }
  },
);

attack("an upgrade that is refused, and the client stays", {
  source: fixture,
  clients: "stay",
}, async (target) => {
  const many = await target.dialMany(20);
  await all(many, websocket.upgrade("/"));
  await Promise.all(many.map((attacker) => attacker.write("more bytes")));
});

attack("an event stream that would be a WebSocket x500", {}, async (target) => {
  for (let round = 0; round < 5; round++) {
    const many = await target.dialMany(100);
    await all(many, websocket.upgrade("/events"));
    for (const attacker of many) attacker.leave();
  }
});

attack("an upload that would be a WebSocket", {}, async (target) => {
  const upgrade = websocket.upgrade("/").replace("GET", "POST")
    .replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello");
  for (let round = 0; round < 20; round++) {
    const status = await statusOf(target, upgrade);
    // It is no GET.
    assert(status !== undefined && status >= 400 && status < 500, `${status}`);
  }
});

attack(
  "an upgrade to h2c, with and without its preface",
  {},
  async (target) => {
    const ask =
      `GET / HTTP/1.1\r\n${host}Connection: Upgrade, HTTP2-Settings\r\n` +
      "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    for (const behind of ["", hello().toString("latin1")]) {
      const many = await target.dialMany(20);
      await all(many, ask + behind);
    }
  },
);

attack("half a head x200", {}, async (target) => {
  const many = await target.dialMany(200);
  await Promise.all(
    many.map((attacker) => attacker.write(`GET / HTTP/1.1\r\n${host}X: `)),
  );
});

attack(
  "half a head, and the clients stay",
  { clients: "stay" },
  async (target) => {
    const many = await target.dialMany(50);
    await Promise.all(
      many.map((attacker) => attacker.write(`GET / HTTP/1.1\r\n${host}X: `)),
    );
  },
);

attack("heads of 300 KB x50", {}, async (target) => {
  const many = await target.dialMany(50);
  await all(
    many,
    `GET / HTTP/1.1\r\n${host}X: ${"x".repeat(300_000)}\r\n\r\n`,
  );
});

attack("event streams that are left x200", {}, async (target) => {
  const many = await target.dialMany(200);
  await all(many, `GET /events HTTP/1.1\r\n${host}\r\n`);
});

attack(
  "answers of 16 MB that nobody reads x40",
  { source: fixture },
  (target) => unread(target),
);
attack("answers of 16 MB that nobody reads x5, at the end", {
  source: fixture,
  clients: "stay unserved",
}, (target) => unread(target, 5));

async function unread(target: Target, count = 40): Promise<void> {
  const many = await target.dialMany(count);
  await Promise.all(many.map(async (attacker) => {
    attacker.goDeaf();
    await attacker.write(`GET /big HTTP/1.1\r\n${host}\r\n`);
  }));
  await delay(500); // as much is sent as the kernel takes
}

attack(
  "ten clients that post to a handler without a pause",
  { source: fixture, warmUp: 10_000 },
  async (target) => {
    const upload =
      `POST /hash HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello`;
    const many = await target.dialMany(10);
    const until = performance.now() + 2_000;
    await Promise.all(many.map(async (attacker) => {
      for (let sent = 1; performance.now() < until; sent++) {
        const before = attacker.received;
        await attacker.write(upload);
        await attacker.until(() => attacker.received > before);
      }
    }));
  },
);

attack(
  "more connections than there are descriptors",
  {
    descriptors: 200,
    // It may say that it has run out of them.
    log: /descriptor|EMFILE|too many open files/i,
    // Deno ends its listener then, and all connections with it.
    losesOthers: runtime === "deno",
  },
  async (target) => {
    const many: Attacker[] = [];
    for (let count = 0; count < 300; count++) {
      // The kernel takes those that the server cannot, while it listens.
      const attacker = await Attacker.dial(target.url);
      void attacker?.write("GET");
      if (attacker) many.push(attacker);
    }
    await delay(300);
    for (const attacker of many) attacker.leave();
    assert(await target.serves());
    assertEquals(await target.ask("/"), 200);
  },
);

attack("paths and methods without number", {}, async (target) => {
  const attacker = await target.dial();
  for (let sent = 0; sent < 10_000 && !attacker.isOver; sent += 100) {
    const before = attacker.received;
    await attacker.write(
      Array.from(
        { length: 100 },
        (_, i) => `M${sent + i} /${sent + i} HTTP/1.1\r\n${host}\r\n`,
      ).join(""),
    );
    await attacker.until(() => attacker.received > before);
  }
});

// ---- HTTP/2

/** Over TLS, and by prior knowledge, which is Deno's alone. */
function attackHttp2(
  name: string,
  options: Parameters<typeof attack>[1],
  run: (dial: Dial, target: Target) => Promise<void>,
): void {
  for (const tls of runtime === "deno" ? [true, false] : [true]) {
    const where = tls ? "HTTP/2" : "HTTP/2 in plain text";
    attack(
      `${where}: ${name}`,
      { tls, ...options },
      (target) =>
        run(async (...pairs) => {
          const attacker = await target.dial(
            target.url,
            tls ? "h2" : undefined,
          );
          await attacker.write(hello(...pairs));
          return attacker;
        }, target),
    );
  }
}

type Dial = (...pairs: [number, number][]) => Promise<Attacker>;
const INITIAL_WINDOW = 4;

const http2Of = (count: number, dial: Dial, ...pairs: [number, number][]) =>
  Promise.all(Array.from({ length: count }, () => dial(...pairs)));

/** A frame of this type came back. */
const came = (attacker: Attacker, type: number) => () =>
  framesOf(attacker.answer).some((frame) => frame.type === type);

attackHttp2("the event stream of the template", {}, async (dial) => {
  const many = await http2Of(10, dial);
  await Promise.all(many.map(async (attacker) => {
    await attacker.write(get(1, "/events"));
    await attacker.until(came(attacker, Type.data));
    assert(came(attacker, Type.data)(), "no event came");
  }));
});

attackHttp2(
  "hop-by-hop headers in an answer",
  { source: fixture },
  async (dial) => {
    for (
      const name of [
        "te",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "http2-settings",
      ]
    ) {
      const attacker = await dial();
      await attacker.write(get(1, `/hop?name=${name}`));
      await attacker.until(came(attacker, Type.headers));
      assert(came(attacker, Type.headers)(), `no answer with ${name}`);
      attacker.leave();
    }
  },
);

attackHttp2("hop-by-hop headers in a request", {}, async (dial) => {
  for (
    const pair of [
      ["transfer-encoding", "chunked"],
      ["connection", "upgrade"],
      ["upgrade", "websocket"],
      ["keep-alive", "timeout=5"],
      ["te", "gzip"],
      ["host", "other"],
      ["content-length", "-1"],
      ["content-length", "99999999999999999999"],
      [":protocol", "websocket"],
      ["X-Upper", "1"],
      ["x\r\ny", "1"],
      ["x", "1\r\ny: 2"],
      ["x", "\0"],
    ] as [string, string][]
  ) {
    const attacker = await dial();
    await attacker.write(
      Buffer.concat([
        get(1, "/", pair),
        frame(
          Type.headers,
          Flag.endHeaders,
          3,
          request("POST", "/", pair),
        ),
        frame(Type.data, Flag.endStream, 3, Buffer.from("hello")),
      ]),
    );
    await attacker.answered(500);
    attacker.leave();
  }
});

attackHttp2("preface and close x40", {}, async (dial) => {
  await Promise.all(Array.from({ length: 40 }, async () => {
    (await dial()).leave();
  }));
});

attackHttp2(
  "clients that have gone silent x40",
  { clients: "stay" },
  async (dial) => {
    const many = await http2Of(40, dial);
    await all(many, get(1, "/"));
    for (const attacker of many) attacker.goDeaf();
  },
);

attackHttp2("a head without end", {}, async (dial) => {
  const attacker = await dial();
  await attacker.write(frame(Type.headers, 0, 1, request("GET", "/")));
  const more = frame(
    Type.continuation,
    0,
    1,
    headerBlock([["x", "x".repeat(16_000)]]),
  );
  await flood(attacker, more, 4_000, 50);
});

attackHttp2("a head of empty CONTINUATIONs without end", {}, async (dial) => {
  const attacker = await dial();
  await attacker.write(frame(Type.headers, 0, 1, request("GET", "/")));
  await flood(attacker, frame(Type.continuation, 0, 1), 100_000, 1_000);
});

attackHttp2("requests that are reset at once x20,000", {
  log: /^recv_reset/, // Deno's HTTP/2 says so on its own when it has had enough
}, async (dial) => {
  const attacker = await dial();
  for (let at = 0; at < 20_000 && !attacker.isOver; at += 100) {
    const pairs = Array.from({ length: 100 }, (_, i) => {
      const stream = 2 * (at + i) + 1;
      return [
        get(stream, "/slow?ms=1000"),
        frame(Type.rst, 0, stream, uint32(8)),
      ];
    });
    if (!await taken(attacker, Buffer.concat(pairs.flat()))) return;
  }
});

attackHttp2("requests that it must reset itself", {}, async (dial) => {
  // "MadeYouReset": an increment of 0 is the client's fault, the server's reset.
  const attacker = await dial();
  for (let at = 0; at < 10_000 && !attacker.isOver; at += 100) {
    const pairs = Array.from({ length: 100 }, (_, i) => {
      const stream = 2 * (at + i) + 1;
      return [
        get(stream, "/slow?ms=1000"),
        frame(Type.window, 0, stream, uint32(0)),
      ];
    });
    if (!await taken(attacker, Buffer.concat(pairs.flat()))) return;
  }
});

for (
  const [name, bytes] of Object.entries({
    "PINGs": frame(Type.ping, 0, 0, Buffer.alloc(8)),
    "SETTINGS": settings([INITIAL_WINDOW, 100]),
    "empty DATA": frame(Type.data, 0, 1),
    "PRIORITY loops": Buffer.concat([
      frame(Type.priority, 0, 3, Buffer.concat([uint32(5), Buffer.from([9])])),
      frame(Type.priority, 0, 5, Buffer.concat([uint32(3), Buffer.from([9])])),
      frame(Type.priority, 0, 7, Buffer.concat([uint32(7), Buffer.from([9])])),
    ]),
    "frames of unknown types": frame(0xfa, 0xff, 0, Buffer.alloc(100)),
  })
) {
  attackHttp2(`${name} without end, no answer read`, {}, async (dial) => {
    const attacker = await dial();
    await attacker.write(
      frame(Type.headers, Flag.endHeaders, 1, request("POST", "/")),
    );
    attacker.goDeaf();
    await flood(attacker, bytes, 100_000, 1_000);
  });
}

attackHttp2("windows beyond all numbers", {}, async (dial) => {
  const most = uint32(0x7fffffff);
  for (const stream of [0, 1]) {
    const attacker = await dial();
    await attacker.write(Buffer.concat([
      get(1, "/events"),
      frame(Type.window, 0, stream, most),
      frame(Type.window, 0, stream, most),
      settings([INITIAL_WINDOW, 0x7fffffff]),
      settings([INITIAL_WINDOW, 0xffffffff]),
    ]));
    await attacker.answered(500);
    attacker.leave();
  }
});

attackHttp2("DATA after the end of its stream", {}, async (dial) => {
  for (let round = 0; round < 20; round++) {
    const attacker = await dial();
    await attacker.write(Buffer.concat([
      get(1, "/slow?ms=200"),
      frame(Type.data, 0, 1, Buffer.from("too late")),
      frame(Type.data, Flag.endStream, 1, Buffer.from("again")),
    ]));
    await attacker.answered(500);
    attacker.leave();
  }
});

attackHttp2(
  "a window of 0 for 16 MB x40",
  { source: fixture },
  async (dial) => {
    const many = await http2Of(40, dial, [INITIAL_WINDOW, 0]);
    await all(many, get(1, "/big"));
  },
);

attackHttp2("a window of 0 for 16 MB, at the end", {
  source: fixture,
  clients: "stay unserved",
}, async (dial) => {
  const many = await http2Of(5, dial, [INITIAL_WINDOW, 0]);
  await all(many, get(1, "/big"));
});

attackHttp2("a bomb of HPACK references", {}, async (dial) => {
  const attacker = await dial();
  // One entry of 4,000 bytes in the table, and then one byte for each use.
  const value = Buffer.from("x".repeat(3_900));
  const entry = Buffer.concat([
    Buffer.from([0x40, 1, 0x78, 127, ...varint(value.length - 127)]),
    value,
  ]);
  for (let stream = 1; stream < 200 && !attacker.isOver; stream += 2) {
    await attacker.write(
      frame(
        Type.headers,
        Flag.endHeaders | Flag.endStream,
        stream,
        Buffer.concat([
          request("GET", "/"),
          ...stream === 1 ? [entry] : [],
          Buffer.alloc(8_000, 0xbe),
        ]),
      ),
    );
  }
  await attacker.answered(500);
});

function varint(value: number): number[] {
  const bytes = [];
  for (; value >= 128; value >>= 7) bytes.push(value & 127 | 128);
  return [...bytes, value];
}

attackHttp2("uploads that are left x50", { source: fixture }, async (dial) => {
  for (const path of ["/", "/count"]) {
    const many = await http2Of(50, dial);
    await Promise.all(many.map(async (attacker) => {
      await attacker.write(Buffer.concat([
        frame(Type.headers, Flag.endHeaders, 1, request("POST", path)),
        frame(Type.data, 0, 1, Buffer.from("hello")),
      ]));
      await attacker.answered(500);
      attacker.leave();
    }));
  }
});

attackHttp2("half a frame x40", {}, async (dial) => {
  await Promise.all(Array.from({ length: 40 }, async () => {
    await (await dial()).write(get(1, "/").subarray(0, 20));
  }));
  await delay(100);
});

attack(
  "TLS handshakes that are given up x100",
  { tls: true },
  async (target) => {
    const plain = target.url.replace("https:", "http:");
    const many = await target.dialMany(100, plain);
    await Promise.all(
      many.map((attacker, i) =>
        attacker.write(
          [
            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x".repeat(100),
            "GET / HTTP/1.1\r\n\r\n",
            "\x16",
            "\x15\x03\x01\x00\x02\x02\x28",
          ][i % 4]!,
        )
      ),
    );
    await delay(100);
  },
);

// ---- WebSockets

const onWebSocket = { source: fixture };

async function opened(target: Target, ...more: string[]): Promise<Attacker> {
  const attacker = await target.dial();
  await attacker.write(websocket.upgrade("/ws", ...more));
  await attacker.answered();
  assertEquals(attacker.statuses[0], 101);
  return attacker;
}

attack("a message that the handler does not bear", {
  ...onWebSocket,
  log: /JSON/, // what was thrown belongs into the log
}, async (target) => {
  const other = await opened(target);
  for (let round = 0; round < 20; round++) {
    const attacker = await opened(target);
    await attacker.write(websocket.frame(websocket.Opcode.text, "{bad"));
    await attacker.until(() => attacker.isOver || isClosing(attacker));
    assert(attacker.isOver || isClosing(attacker), "its WebSocket stays open");
  }
  const before = other.received;
  await other.write(websocket.frame(websocket.Opcode.text, "hello"));
  await other.until(() => other.received > before);
  assert(other.received > before, "another WebSocket gets no echo");
});

/** The server has sent a close frame; before it, only its head. */
function isClosing({ answer }: Attacker): boolean {
  return answer.subarray(answer.indexOf("\r\n\r\n") + 4)[0] === 0x88;
}

attack("echoes that nobody reads", onWebSocket, async (target) => {
  const attacker = await opened(target);
  attacker.goDeaf();
  const message = websocket.frame(
    websocket.Opcode.binary,
    Buffer.alloc(65_536),
  );
  await flood(attacker, message, 4_000, 10);
});

attack("echoes that nobody reads, at the end", {
  ...onWebSocket,
  clients: "stay unserved",
}, async (target) => {
  for (let count = 0; count < 5; count++) {
    const attacker = await opened(target);
    attacker.goDeaf();
    const message = websocket.frame(
      websocket.Opcode.binary,
      Buffer.alloc(65_536),
    );
    await flood(attacker, message, 200, 10);
  }
});

attack("PINGs without end, no answer read", onWebSocket, async (target) => {
  const attacker = await opened(target);
  attacker.goDeaf();
  const ping = websocket.frame(websocket.Opcode.ping, Buffer.alloc(125));
  await flood(attacker, ping, 200_000, 1_000);
});

attack("a message of 200 MB", onWebSocket, async (target) => {
  const attacker = await opened(target);
  await attacker.write(
    websocket.frame(websocket.Opcode.binary, "", { length: 200_000_000 }),
  );
  await flood(attacker, Buffer.alloc(100_000), 2_000, 10);
});

attack("a message in fragments without end", {
  ...onWebSocket,
  // What each runtime cannot do: Deno tells of a message when it is whole.
  ...runtime === "deno" && { skip: "Deno takes fragments without end" },
}, async (target) => {
  const attacker = await opened(target);
  await attacker.write(
    websocket.frame(websocket.Opcode.text, "a", { fin: false }),
  );
  const more = websocket.frame(0, Buffer.alloc(1_000), { fin: false });
  await flood(attacker, more, 200_000, 500);
});

attack("empty fragments without end", onWebSocket, async (target) => {
  const attacker = await opened(target);
  await attacker.write(
    websocket.frame(websocket.Opcode.text, "", { fin: false }),
  );
  await flood(attacker, websocket.frame(0, "", { fin: false }), 200_000, 1_000);
});

attack("WebSockets that are left x200", onWebSocket, async (target) => {
  for (let round = 0; round < 4; round++) {
    const many = await Promise.all(
      Array.from({ length: 50 }, () => opened(target)),
    );
    for (const attacker of many) attacker.leave();
  }
});

attack("deaf WebSockets, at the end", {
  ...onWebSocket,
  clients: "stay unserved",
}, async (target) => {
  for (let count = 0; count < 20; count++) (await opened(target)).goDeaf();
});
