// The health check of the containers, which have neither a shell nor curl: asks
// the server in the same container whether it lives. /livez and not /readyz: a
// server that drains, or waits for its database, must not be restarted for it.

import process from "node:process";

const { ADMIN_PORT, ADMIN_HOST, PORT, HOST, TLS_CERT } = process.env;
// Until the very end of a drain the admin port answers, where there is one.
const port = ADMIN_PORT || PORT;
// Whoever connects to 0.0.0.0 or :: connects to the machine he is on.
const host = (ADMIN_PORT ? ADMIN_HOST : HOST) || "127.0.0.1";
const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/livez`;

process.exitCode = !port
  ? cannotAsk("Neither PORT nor ADMIN_PORT is set: there is nothing to ask.")
  : TLS_CERT && !ADMIN_PORT
  // It would have to know the name that the certificate is for.
  ? cannotAsk(
    "TLS_CERT is set, and the health check speaks no HTTPS; set ADMIN_PORT, such " +
      "as 9090, where it can ask.",
  )
  : await ask();

/** @param {string} why */
function cannotAsk(why) {
  console.error(why);
  return 1;
}

async function ask() {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    if (response.ok) return 0;
    console.error(`GET ${url} answered ${response.status}.`);
  } catch (error) {
    const why = error instanceof Error ? error.cause ?? error : error;
    console.error(`GET ${url} failed: ${why}`);
  }
  return 1;
}
