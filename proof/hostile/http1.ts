/** HTTP/1.1 as clients should not speak it. */
import { Buffer } from "node:buffer";
import { featurePaths } from "../support/features.ts";
import type { Dice } from "./dice.ts";
import { ending, mutated, type Step, written } from "./steps.ts";

const METHODS = [
  "GET",
  "GET",
  "GET",
  "POST",
  "POST",
  "HEAD",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "TRACE",
  "CONNECT",
  "PRI",
  "QUERY",
  "get",
  "",
  "G ET",
  "X".repeat(300),
];
const TARGETS = [
  "/",
  "/",
  "/livez",
  "/readyz",
  "/events",
  "/slow?ms=20",
  "/nowhere",
  ...featurePaths("mutated"),
  "*",
  "",
  "/%00",
  "/%zz%",
  "//",
  "///etc/passwd",
  "/../..",
  "/a?b=c#d",
  "/\u00ff",
  "/" + "a/".repeat(5_000),
  "/?" + "a=b&".repeat(3_000),
  "http://localhost/",
  "http://other:99999/",
  "http://[::1/",
  "http://[/",
  "http:/",
  "https://localhost/",
  "//other/",
  "localhost:80",
  "javascript:1",
];
const VERSIONS = [
  ...Array<string>(12).fill("HTTP/1.1"),
  "HTTP/1.0",
  "HTTP/2.0",
  "HTTP/0.9",
  "HTTP/1.2",
  "HTTP/1.01",
  "HTTP/11",
  "http/1.1",
  "HTTP/",
  "",
];
const HOSTS = [
  ...Array<string>(10).fill("Host: localhost"),
  "",
  "Host:",
  "Host: ",
  "Host: a.1",
  "Host: 1.2.3.256",
  "Host: [::1]",
  "Host: [::1",
  "Host: ::1",
  "Host: [",
  "Host: %zz",
  "Host: localhost:99999",
  "Host: localhost:x",
  "Host: localhost/livez?",
  "Host: user@localhost",
  "Host: a b",
  "Host: \u00ff",
  "Host: xn--",
  "Host: " + "a".repeat(5_000),
  "Host: localhost\r\nHost: other",
  "Host: localhost, other",
  "host : localhost",
];
const HEADERS = [
  "Connection: close",
  "Connection: keep-alive",
  "Connection: Upgrade",
  "Connection: host, content-length",
  "Keep-Alive: timeout=0",
  "Upgrade: websocket",
  "Upgrade: h2c",
  "Upgrade: h2c, websocket",
  "Upgrade: TLS/1.0",
  "Upgrade:",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Version: 99",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Key: no",
  "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x",
  "Sec-WebSocket-Protocol: a, a, \u00ff",
  "HTTP2-Settings: AAMAAABkAAQAAP__",
  "Expect: 100-continue",
  "Expect: the moon",
  "TE: trailers, chunked",
  "Trailer: Content-Length",
  "Accept-Encoding: gzip, br;q=0, *;q=x",
  "Content-Encoding: gzip",
  "Content-Type: application/json",
  "Content-Type: multipart/form-data",
  "Range: bytes=0-0,-1",
  'If-None-Match: "',
  "Origin: null",
  "X-Request-Id: \u00e9",
  "X-Forwarded-For: ::1, evil",
  "X-HTTP-Method-Override: DELETE",
  "Cookie: " + "a=b; ".repeat(500),
  "X: " + "x".repeat(20_000),
  "X: a\0b",
  "X: a\rb",
  "X: a\r\n folded",
  "X",
  ": empty",
  " X: leading",
  "\u00ff: y",
  "__proto__: x",
];
// Good JSON, and nothing that a store would keep.
const JSON_BODY = '{"url":1,"title":["x"]}';

interface Framed {
  headers: string[];
  body: Buffer;
}

function framed(dice: Dice): Framed {
  const body = dice.pick([
    "",
    "hello",
    JSON_BODY,
    JSON_BODY.slice(0, dice.below(JSON_BODY.length)),
    "[".repeat(20_000),
    "\0".repeat(200),
    "x".repeat(dice.pick([1, 70_000, 300_000])),
  ]);
  const length = Buffer.byteLength(body);
  return dice.pick<() => Framed>([
    () => ({
      headers: [`Content-Length: ${length}`],
      body: Buffer.from(body),
    }),
    () => ({
      headers: [
        `Content-Length: ${
          dice.pick([
            "0",
            "-1",
            "+5",
            "5, 5",
            "0x5",
            "5 5",
            "",
            "99999999999999999999",
            `${length + 1}`,
            `${Math.max(0, length - 1)}`,
          ])
        }`,
      ],
      body: Buffer.from(body),
    }),
    () => chunks(dice, body),
    () => chunks(dice, body),
    () => ({
      headers: dice.pick([
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding:\tchunked"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
      ]),
      body: Buffer.from(`0\r\n\r\n${body.slice(0, 100)}`),
    }),
  ])();
}

function chunks(dice: Dice, body: string): Framed {
  const isGood = dice.chance(0.5);
  const size = dice.pick([1, 1, 7, 100, 65_536]);
  const pieces: string[] = [];
  const length = Math.min(body.length, size * 3_000);
  for (let at = 0; at < length; at += size) {
    const piece = body.slice(at, Math.min(length, at + size));
    const said = isGood || dice.chance(0.95)
      ? piece.length.toString(16)
      : dice.pick(["zz", "-1", "0x1", "", " 1", "fffffffffffffffff", "1 "]);
    const extension = isGood || dice.chance(0.9)
      ? ""
      : dice.pick([";a=b", ";" + "x".repeat(2_000), ";\0", ';a="\r\n']);
    const end = isGood || dice.chance(0.95)
      ? "\r\n"
      : dice.pick(["\n", "\r", ""]);
    pieces.push(`${said}${extension}\r\n${piece}${end}`);
  }
  if (isGood) pieces.push("0\r\n\r\n");
  else {
    pieces.push(dice.pick([
      "0\r\n\r\n",
      "0\r\nX: trailer\r\n\r\n",
      "0\r\nContent-Length: 5\r\n\r\n",
      "0\r\n" + "X: y\r\n".repeat(2_000) + "\r\n",
      "00000000000000000000\r\n\r\n",
      "0\r\n",
      "",
    ]));
  }
  return {
    headers: ["Transfer-Encoding: chunked"],
    body: Buffer.from(pieces.join("")),
  };
}

function request(dice: Dice): Buffer {
  const line = dice.chance(0.95)
    ? [dice.pick(METHODS), dice.pick(TARGETS), dice.pick(VERSIONS)].join(" ")
    : dice.pick([
      "",
      "GET",
      "GET /",
      "GET  /  HTTP/1.1",
      "GET\t/\tHTTP/1.1",
      "\r\nGET / HTTP/1.1",
      "PRI * HTTP/2.0\r\n\r\nSM",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ]);
  const body = dice.chance(0.4)
    ? framed(dice)
    : { headers: [], body: Buffer.alloc(0) };
  const upgrade = dice.chance(0.1)
    ? [
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    : [];
  const headers = [
    dice.pick(HOSTS),
    ...dice.some(4, () => dice.pick(HEADERS)),
    ...upgrade,
    ...body.headers,
  ].filter((header) => header !== "");
  const newline = dice.chance(0.05) ? "\n" : "\r\n";
  const head = [line, ...headers, "", ""].join(newline);
  return Buffer.concat([Buffer.from(head, "latin1"), body.body]);
}

/** One client: a request or several, some of their bytes changed. */
export function http1(dice: Dice): Step[] {
  const requests = Array.from(
    { length: dice.pick([1, 1, 1, 2, 3, 8]) },
    () => request(dice),
  );
  if (dice.chance(0.03)) {
    const many = Array.from({ length: 300 }, () => requests[0]!);
    if (requests[0]!.length < 1_000) requests.push(...many);
  }
  const bytes = Buffer.concat(requests);
  return [
    ...written(dice, dice.chance(0.35) ? mutated(dice, bytes) : bytes),
    ...ending(dice),
    // What is said behind an answer, or behind a refusal.
    ...dice.chance(0.15)
      ? [
        { do: "write" as const, bytes: request(dice) },
        { do: "wait" as const },
      ]
      : [],
  ];
}
