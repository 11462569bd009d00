// Servers that lose requests on purpose, for the tests of the drill. The first
// argument says how; PORT where.
import { connect, createServer } from "node:net";
import process from "node:process";

const how = process.argv[2];
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
const NO = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

// So that a test sees it end; nor does it outlive the test.
if (process.env.CALLS) {
  connect(Number(process.env.CALLS), "127.0.0.1")
    .on("error", () => {})
    .on("close", () => process.exit(1));
}

let signalled = false;
/** Requests that were read and wait for their answer. */
let held = 0;
let open = 0;
/** @type {NodeJS.Timeout | undefined} */
let leaving;

/** Long enough to be seen misbehaving, from the first time on. */
function leaveSoon(code = 0) {
  leaving ??= setTimeout(() => process.exit(code), 300);
}

const server = createServer((socket) => {
  if (how === "leaves") leaveSoon(3);
  let answers = 0;
  open++;
  socket.on("error", () => {});
  socket.on("close", () => {
    if (--open === 0 && signalled) process.exit(0);
  });
  socket.on("data", (data) => {
    if (data.toString().startsWith("GET /leave ")) process.exit(3);
    if (signalled && how !== "drops-in-flight") leaveSoon();
    switch (how) {
      // Reads each request, takes its time, and has none left at the signal. One
      // that it has not read would be another case: so it goes with one in hand.
      case "drops-in-flight":
        if (signalled) process.exit(0);
        held++;
        setTimeout(() => {
          held--;
          socket.write(OK);
        }, 30);
        break;
      // As if it had been closing each just as its next request came.
      case "resets-kept":
        if (answers++ > 0) socket.resetAndDestroy();
        else socket.write(OK);
        break;
      // Half of the answer, and then no more.
      case "cuts-answers":
        socket.write(signalled ? OK.slice(0, 30) : OK);
        if (signalled) socket.end();
        break;
      case "answers-503":
        socket.write(signalled ? NO : OK);
        break;
      case "hangs":
        if (!signalled) socket.write(OK);
        break;
      default:
        socket.write(OK);
    }
  });
});
const port = Number(process.env.PORT);
const listen = () => server.listen(port, "127.0.0.1");
// Not at once: after a restart there is a while in which nobody listens.
setTimeout(listen, 100);
// It cannot share its port: so it turns the other one out.
server.on("error", () => {
  const other = connect(port, "127.0.0.1", () => {
    other.write("GET /leave HTTP/1.1\r\n\r\n");
  });
  other.on("error", () => {});
  other.on("close", listen);
});
server.on("listening", () => console.log(`listening on ${port}`));

process.on("SIGTERM", () => {
  signalled = true;
  if (open === 0 || how === "drops-in-flight" && held > 0) process.exit(0);
});
