/**
 * Ten clients that send their requests without waiting for an answer, until this
 * process is ended: in one of its own, lest it hold up the test that measures.
 *
 * FLOOD_PORT, FLOOD_METHOD
 */
import { Buffer } from "node:buffer";
import * as net from "node:net";
import process from "node:process";

const port = Number(process.env.FLOOD_PORT);
const body = process.env.FLOOD_METHOD === "POST" ? "hello" : "";
const length = body && `Content-Length: ${body.length}\r\n`;
const one =
  `${process.env.FLOOD_METHOD} / HTTP/1.1\r\nHost: localhost\r\n${length}\r\n${body}`;
const many = Buffer.from(one.repeat(2000));

async function flood(): Promise<void> {
  for (;;) {
    const socket = net.connect(port, "127.0.0.1");
    const send = () => {
      while (socket.writable && socket.write(many));
    };
    socket.on("error", () => {}).on("connect", send).on("drain", send).resume();
    await new Promise((resolve) => socket.on("close", resolve));
  }
}

for (let n = 0; n < 10; n++) void flood();
console.log(JSON.stringify({ event: "flooding" }));
