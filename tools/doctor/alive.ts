import { error, type Finding } from "./finding.ts";

/** The health check of the images, deploy/alive.js, asks over plain HTTP. */
export function examineAlive(
  where: string,
  has: (variable: string) => boolean,
): Finding[] {
  if (!has("TLS_CERT") || has("ADMIN_PORT")) return [];
  return [error(
    `${where} has TLS_CERT, and its health check no ADMIN_PORT to ask`,
    "deploy/alive.js speaks no HTTPS, so the container is never healthy, and " +
      "whoever waits for that waits in vain",
    "set ADMIN_PORT, such as 9090",
  )];
}
