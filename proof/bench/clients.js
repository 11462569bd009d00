// Clients in a process of their own, so that ten thousand closing connections
// do not keep the bench from looking at its clock.
//
//   node clients.js PORT COUNT PATH
//
// Each sends one request and stays. Says when all have been answered, and when
// all are closed how many were; leaves with stdin.

import { connect } from "node:net";
import process from "node:process";

/** Fewer than any accept queue holds. */
const AT_ONCE = 100;
/** Enough for the ephemeral ports of each address to last. */
const PER_ADDRESS = 1000;

const [port, count, path] = process.argv.slice(2);
const wanted = Number(count);
let answered = 0, closed = 0, opened = 0;

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
for (let i = 0; i < Math.min(AT_ONCE, wanted); i++) open();

function open() {
  const index = opened++;
  const socket = connect({
    port: Number(port),
    host: "127.0.0.1",
    localAddress: `127.0.0.${1 + Math.floor(index / PER_ADDRESS)}`,
  });
  // The next one comes when this one is in: a held request is never answered
  // before all are there.
  socket.on("connect", () => {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
    if (opened < wanted) open();
  });
  let text = "", whole = false;
  socket.on("data", (data) => {
    if (whole) return;
    text += data;
    whole = isWhole(text);
    if (whole && ++answered === wanted) tell("answered");
  });
  // A server that is forced resets its connections: that is what is measured.
  socket.on("error", () => {});
  socket.on("close", () => {
    if (++closed === wanted) tell("closed");
  });
}

/** @param {string} text */
function isWhole(text) {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0 || !text.startsWith("HTTP/1.1 200 ")) return false;
  const length = /^content-length: (\d+)/im.exec(text.slice(0, end))?.[1];
  return text.length - end - 4 >= Number(length);
}

/** @param {string} event */
function tell(event) {
  console.log(JSON.stringify({ event, answered }));
}
