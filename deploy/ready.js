// For the unit's ExecStartPost: ends when the server is ready, so that `systemctl
// restart` is over then and not before, and fails where the server has ended.
// systemd ends it, and the server, when TimeoutStartSec is over.

import process from "node:process";

const { ADMIN_PORT, ADMIN_HOST, PORT, HOST, TLS_CERT, MAINPID } = process.env;
// It would have to know the name that the certificate is for.
const isPrivate = Boolean(TLS_CERT);
const port = isPrivate ? ADMIN_PORT : PORT;
const host = (isPrivate ? ADMIN_HOST : HOST) || "127.0.0.1";
const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/readyz`;

if (!port) {
  console.error(
    isPrivate
      ? "TLS_CERT is set, and this speaks no HTTPS; set ADMIN_PORT, such as 9090, " +
        "where it can ask."
      : "PORT is not set: there is nothing to ask.",
  );
  process.exit(1);
}
// Nobody tells when a server is ready, so it is asked.
while (!await isReady()) {
  if (hasEnded()) {
    console.error("The server has ended before it was ready; see its log.");
    process.exit(1);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
}

async function isReady() {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    return response.ok;
  } catch {
    return false; // not listening yet
  }
}

function hasEnded() {
  if (!MAINPID) return false;
  try {
    process.kill(Number(MAINPID), 0);
    return false;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "ESRCH";
  }
}
