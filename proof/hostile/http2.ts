/** HTTP/2 as clients should not speak it. */
import { Buffer } from "node:buffer";
import { featurePaths } from "../support/features.ts";
import type { Dice } from "./dice.ts";
import {
  Flag,
  frame,
  get,
  headerBlock,
  hello,
  preface,
  request,
  settings,
  Type,
  uint32,
} from "./frames.ts";
import { ending, mutated, type Step, written } from "./steps.ts";

const PATHS = [
  "/",
  "/",
  "/events",
  "/slow?ms=20",
  "/livez",
  "/nowhere",
  ...featurePaths("mutated"),
  "*",
  "",
  "a",
  "/%zz",
  "/\0",
  "/" + "a".repeat(3_000),
  "http://other/",
];
const FIELDS: [string, string][] = [
  ["transfer-encoding", "chunked"],
  ["connection", "close"],
  ["upgrade", "websocket"],
  ["te", "trailers"],
  ["te", "gzip"],
  ["host", "other"],
  ["content-length", "5"],
  ["content-length", "x"],
  [":protocol", "websocket"],
  [":path", "/again"],
  [":status", "200"],
  [":unknown", "x"],
  ["X-Upper", "1"],
  ["x", "a\r\nb"],
  ["x", "\0"],
  ["", "x"],
  ["x", "x".repeat(10_000)],
  ["cookie", "a=b"],
  ["expect", "100-continue"],
  ["content-type", "application/json"],
  ["accept-encoding", "gzip"],
];
const METHODS = ["GET", "POST", "HEAD", "CONNECT", "OPTIONS", "", "x y"];
const SETTINGS: [number, number][] = [
  [1, 0],
  [1, 0xffffffff],
  [2, 2],
  [3, 0],
  [4, 0],
  [4, 1],
  [4, 0x80000000],
  [5, 0],
  [5, 0xffffff],
  [6, 0],
  [8, 1],
  [0xf0f0, 1],
];

/** One of a few streams, now and then one that cannot be. */
const streamOf = (dice: Dice) =>
  dice.pick([1, 1, 3, 5, 7, 0, 2, 0x7fffffff, 0xffffffff]);

function block(dice: Dice): Buffer {
  if (dice.chance(0.1)) {
    // The table's first entry, and numbers and strings without an end.
    return dice.pick([
      dice.bytes(dice.below(60)),
      Buffer.from([0x80]),
      Buffer.alloc(200, 0xbe),
      Buffer.from([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x3f, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from([0, 0x7f, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from([0, 0x81, 0xff, 0x81, 0xff]),
      Buffer.alloc(3_000, 0x82),
    ]);
  }
  const more = dice.some(3, () => dice.pick(FIELDS));
  if (dice.chance(0.1)) return headerBlock(more);
  return request(dice.pick(METHODS), dice.pick(PATHS), ...more);
}

const GENERATORS: ((dice: Dice) => Buffer)[] = [
  (dice) => get(dice.pick([1, 3, 5, 7, 9]), dice.pick(PATHS)),
  (dice) =>
    frame(
      Type.headers,
      dice.pick([4, 5, 5, 0, 1, 12, 36, 0xff]),
      streamOf(dice),
      block(dice),
    ),
  (dice) =>
    frame(
      Type.data,
      dice.pick([0, 1, 8, 9]),
      streamOf(dice),
      Buffer.alloc(dice.pick([0, 1, 5, 16_384, 16_385]), 120),
    ),
  // A whole upload.
  (dice) => {
    const stream = dice.pick([1, 3, 5]);
    return Buffer.concat([
      frame(Type.headers, 4, stream, request("POST", dice.pick(PATHS))),
      ...dice.some(5, () => frame(Type.data, 0, stream, Buffer.alloc(1_000))),
      frame(Type.data, 1, stream, Buffer.from("end")),
    ]);
  },
  (dice) =>
    frame(
      Type.priority,
      0,
      streamOf(dice),
      Buffer.concat([uint32(streamOf(dice)), dice.bytes(dice.pick([0, 1, 2]))]),
    ),
  (dice) => frame(Type.rst, 0, streamOf(dice), uint32(dice.below(20))),
  (dice) => settings(...dice.some(3, () => dice.pick(SETTINGS))),
  () => frame(Type.settings, Flag.ack, 0),
  (dice) => frame(Type.settings, 1, 0, dice.bytes(dice.below(8))),
  (dice) => frame(Type.push, 4, streamOf(dice), block(dice)),
  (dice) =>
    frame(Type.ping, dice.below(2), 0, dice.bytes(dice.pick([8, 8, 0, 9]))),
  (dice) =>
    frame(
      Type.goaway,
      0,
      0,
      Buffer.concat([uint32(dice.below(9), dice.below(14)), dice.bytes(3)]),
    ),
  (dice) =>
    frame(
      Type.window,
      0,
      streamOf(dice),
      uint32(dice.pick([0, 1, 65_535, 0x7fffffff, 0xffffffff])),
    ),
  (dice) =>
    frame(Type.continuation, dice.pick([0, 4]), streamOf(dice), block(dice)),
  (dice) =>
    Buffer.concat([
      frame(Type.headers, 1, 1, request("GET", "/")),
      ...dice.some(20, () => frame(Type.continuation, 0, 1, block(dice))),
    ]),
  // Rapid reset.
  (dice) =>
    Buffer.concat(
      Array.from({ length: dice.below(60) }, (_, i) => [
        get(2 * i + 11, "/slow?ms=20"),
        frame(Type.rst, 0, 2 * i + 11, uint32(8)),
      ]).flat(),
    ),
  (dice) => {
    const ping = frame(Type.ping, 0, 0, Buffer.alloc(8));
    return Buffer.concat(Array.from({ length: dice.below(500) }, () => ping));
  },
  (dice) => frame(dice.below(256), dice.below(256), streamOf(dice)),
  // A length that is not the truth.
  (dice) =>
    frame(
      dice.below(10),
      dice.below(256),
      streamOf(dice),
      dice.bytes(dice.below(30)),
      dice.pick([0, 1, 5, 8, 100, 16_384, 0xffffff]),
    ),
  (dice) => dice.bytes(dice.below(100)),
];

/** One client: a preface, and frames in any order. */
export function http2(dice: Dice): Step[] {
  const begin = dice.chance(0.9)
    ? hello(...dice.some(2, () => dice.pick(SETTINGS)))
    : dice.pick([
      preface,
      preface.subarray(0, dice.below(preface.length)),
      Buffer.concat([preface, preface]),
      mutated(dice, hello()),
      Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ]);
  const frames = dice.some(10, () => dice.pick(GENERATORS)(dice));
  const bytes = Buffer.concat([begin, ...frames]);
  return [
    ...written(dice, dice.chance(0.15) ? mutated(dice, bytes) : bytes),
    ...ending(dice),
    ...dice.chance(0.3)
      ? [
        {
          do: "write" as const,
          bytes: Buffer.concat(dice.some(4, () => dice.pick(GENERATORS)(dice))),
        },
        ...ending(dice),
      ]
      : [],
  ];
}
