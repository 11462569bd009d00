/** WebSockets as clients should not speak them, after a good handshake. */
import { Buffer } from "node:buffer";
import type { Dice } from "./dice.ts";
import { ending, mutated, type Step, written } from "./steps.ts";
import { frame, Opcode, type Shape, upgrade } from "./websocket_frames.ts";

const TEXTS = [
  "",
  "hello",
  '{"good":1}',
  "{bad",
  "{",
  "x".repeat(200),
  "x".repeat(70_000),
  "\u{1F37A}",
];
const BROKEN = [
  Buffer.from([0xff]),
  Buffer.from([0xc3]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
  Buffer.from([0xc0, 0x80]),
];
const CODES = [
  0,
  999,
  1000,
  1001,
  1004,
  1005,
  1006,
  1012,
  1015,
  2999,
  3000,
  65535,
];

function closing(dice: Dice): Buffer {
  const code = Buffer.alloc(2);
  code.writeUInt16BE(dice.pick(CODES));
  return Buffer.concat([
    code.subarray(0, dice.pick([0, 1, 2, 2, 2])),
    dice.pick([Buffer.alloc(0), Buffer.from("bye"), ...BROKEN]),
    Buffer.alloc(dice.pick([0, 0, 0, 130])),
  ]);
}

const shape = (dice: Dice): Shape => ({
  fin: !dice.chance(0.2),
  reserved: dice.chance(0.1) ? dice.below(8) : 0,
  masked: !dice.chance(0.05),
  ...dice.chance(0.1)
    ? {
      length: dice.pick([
        0,
        1,
        125,
        126,
        65_536,
        20_000_000,
        2n ** 31n,
        2n ** 53n,
        2n ** 63n,
        2n ** 64n - 1n,
      ]),
    }
    : {},
  ...dice.chance(0.1) ? { bits: dice.pick([7, 16, 64] as const) } : {},
});

const GENERATORS: ((dice: Dice) => Buffer)[] = [
  (dice) => frame(Opcode.text, dice.pick(TEXTS)),
  (dice) => frame(Opcode.text, dice.pick(TEXTS), shape(dice)),
  (dice) => frame(Opcode.binary, dice.bytes(dice.below(200)), shape(dice)),
  (dice) => frame(Opcode.text, dice.pick(BROKEN), shape(dice)),
  (dice) => frame(Opcode.continuation, dice.pick(TEXTS), shape(dice)),
  (dice) => frame(Opcode.close, closing(dice), shape(dice)),
  (dice) =>
    frame(
      Opcode.ping,
      Buffer.alloc(dice.pick([0, 125, 126, 1_000])),
      shape(dice),
    ),
  (dice) => frame(Opcode.pong, dice.bytes(dice.below(130)), shape(dice)),
  (dice) => frame(dice.below(16), dice.bytes(dice.below(20)), shape(dice)),
  (dice) => {
    const piece = frame(Opcode.continuation, "x", { fin: false });
    return Buffer.concat([
      frame(Opcode.text, "x", { fin: false }),
      ...Array.from({ length: dice.below(500) }, () => piece),
      frame(Opcode.continuation, "", { fin: dice.chance(0.7) }),
    ]);
  },
  (dice) => {
    const ping = frame(Opcode.ping, "ping");
    return Buffer.concat(Array.from({ length: dice.below(500) }, () => ping));
  },
  // Many echoes, which the client may not read.
  (dice) => {
    const text = frame(Opcode.text, "x".repeat(10_000));
    return Buffer.concat(Array.from({ length: dice.below(60) }, () => text));
  },
  (dice) => dice.bytes(dice.below(100)),
];

const HANDSHAKES = [
  ...Array<string>(12).fill(upgrade("/ws")),
  upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate"),
  upgrade("/ws", "Sec-WebSocket-Protocol: chat"),
  upgrade("/ws", "Origin: null"),
  upgrade("/"),
  upgrade("/events"),
  upgrade("/nowhere"),
];

/** One client: a handshake, and frames in any order. */
export function websocket(dice: Dice): Step[] {
  const frames = () =>
    Buffer.concat(dice.some(8, () => dice.pick(GENERATORS)(dice)));
  const first = frames();
  const bytes = dice.chance(0.15) ? mutated(dice, first) : first;
  const handshake = Buffer.from(dice.pick(HANDSHAKES), "latin1");
  return [
    // Some do not wait for the 101.
    ...dice.chance(0.8)
      ? [
        { do: "write" as const, bytes: handshake },
        { do: "wait" as const },
        ...written(dice, bytes),
      ]
      : written(dice, Buffer.concat([handshake, bytes])),
    ...ending(dice),
    ...dice.chance(0.3) ? [...written(dice, frames()), ...ending(dice)] : [],
  ];
}
