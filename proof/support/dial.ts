import * as net from "node:net";
import * as tls from "node:tls";

/**
 * A connection to where a server says that it listens: `http:`, `https:` or
 * `unix:`. Rejects with the system's error (its `code` says which). No test
 * trusts its own certificate any further than this.
 */
export function dial(
  url: string,
  protocol = "http/1.1",
  allowHalfOpen = false,
): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const host = hostname.replace(/[\[\]]/g, "");
    const place = { host, port: Number(port), noDelay: true, allowHalfOpen };
    const socket = url.startsWith("unix:")
      ? net.connect({ path: url.slice("unix:".length) })
      : url.startsWith("https:")
      ? tls.connect({
        ...place,
        ALPNProtocols: [protocol],
        rejectUnauthorized: false,
      })
      : net.connect(place);
    const ready = socket instanceof tls.TLSSocket ? "secureConnect" : "connect";
    socket.once("error", reject);
    socket.once(ready, () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}
