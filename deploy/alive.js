// The health check of the containers, which have neither a shell nor curl: asks
// the server in the same container whether it lives. /livez and not /readyz: a
// server that drains, or waits for its database, must not be restarted for it.

import process from "node:process";

// Until the very end of a drain the admin port answers, where there is one.
const port = process.env["ADMIN_PORT"] || process.env["PORT"] || "3000";
try {
  const response = await fetch(`http://127.0.0.1:${port}/livez`, {
    signal: AbortSignal.timeout(2000),
  });
  if (!response.ok) throw new Error(`it answered ${response.status}`);
} catch (error) {
  const why = error instanceof Error ? error.cause ?? error : error;
  console.error(`GET /livez on port ${port} failed: ${why}`);
  process.exitCode = 1;
}
