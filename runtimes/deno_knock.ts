import { NO_REQUEST, reachable } from "./accept_queue.ts";
import type { ListenOptions } from "./runtime.ts";
import { BLIND_TURN, KNOCK } from "./times.ts";
import { delay } from "./wait.ts";

type Address = Pick<ListenOptions, "hostname" | "port" | "unix" | "reusePort">;

/** Rights to connect may be missing, and a busy runtime may not answer. */
export function knockAt(address: Address): Promise<void> {
  const { hostname, port, unix, reusePort } = address;
  if (reusePort || !mayKnock(address)) return delay(BLIND_TURN);
  const connecting = unix === undefined
    ? Deno.connect({ hostname: reachable(hostname), port })
    : Deno.connect({ transport: "unix", path: unix });
  const answered = connecting.then(async (connection) => {
    try {
      await connection.write(new TextEncoder().encode(NO_REQUEST));
      await connection.read(new Uint8Array(1));
    } finally {
      connection.close();
    }
  });
  return Promise.race([answered.catch(() => delay(1)), delay(KNOCK)]);
}

/** In a terminal, to try without the right would ask a person, and wait. */
function mayKnock({ hostname, port, unix }: Address): boolean {
  const needed: Deno.PermissionDescriptor[] = unix === undefined
    ? [{ name: "net", host: `${reachable(hostname)}:${port}` }]
    : [{ name: "read", path: unix }, { name: "write", path: unix }];
  return needed.every((right) =>
    Deno.permissions.querySync(right).state === "granted"
  );
}
