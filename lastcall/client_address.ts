import type { Context } from "hono";
import type { GetConnInfo } from "hono/conninfo";
import { BlockList, isIP } from "node:net";

const NAMED: Record<string, string[]> = {
  loopback: ["127.0.0.0/8", "::1"],
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
};

/** Whether it says whom to trust: an address, a range of them, or a name. */
export function isProxy(text: string): boolean {
  return Object.hasOwn(NAMED, text) || rangeOf(text) !== undefined;
}

/**
 * The address of a request's client. Anybody can send X-Forwarded-For: what a
 * trusted proxy has added to it is believed, from the last to the first, up to
 * who is no such proxy. A proxy that writes Forwarded (RFC 7239) in its place has
 * to take away an X-Forwarded-For of the client's.
 */
export function clientAddresses(
  getConnInfo: GetConnInfo,
  proxies: string[],
): (c: Context) => string | undefined {
  const peerOf = (c: Context) => {
    try {
      const { address } = getConnInfo(c).remote;
      return address && withoutMapping(address);
    } catch {
      return undefined; // no connection brought it, as in a test
    }
  };
  if (proxies.length === 0) return peerOf;
  const isTrusted = trust(proxies);
  return (c) => {
    let client = peerOf(c);
    if (client === undefined || !isTrusted(client)) return client;
    const list = c.req.header("x-forwarded-for") ?? c.req.header("forwarded");
    for (const hop of (list ?? "").split(",").reverse()) {
      const next = addressIn(hop);
      if (next === undefined) break;
      client = next;
      if (!isTrusted(client)) break;
    }
    return client;
  };
}

function trust(proxies: string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const one of proxies.flatMap((one) => NAMED[one] ?? [one])) {
    const { address, bits, family } = rangeOf(one)!;
    list.addSubnet(address, bits, family);
  }
  // Most requests come through the same one.
  let last: string | undefined;
  return (address) => {
    if (address === last) return true;
    // A link-local address may name its network card.
    const [plain = ""] = address.split("%");
    if (!list.check(plain, familyOf(plain))) return false;
    last = address;
    return true;
  };
}

function rangeOf(text: string) {
  const [, address = "", length] = /^([\da-f:.]+)(?:\/(\d{1,3}))?$/i
    .exec(text) ?? [];
  if (isIP(address) === 0) return undefined;
  const family = familyOf(address);
  const most = family === "ipv6" ? 128 : 32;
  const bits = Number(length ?? most);
  return bits <= most ? { address, bits, family } : undefined;
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}

/** `1.2.3.4:80`, `[::1]`, and `proto=https;for="[::1]:80"`. */
function addressIn(hop: string): string | undefined {
  const [, named = ""] = /(?:^|;)\s*for="?([^";]+)/i.exec(hop) ?? [];
  const said = hop.includes("=") ? named : hop.trim();
  const [, v6, v4] = /^(?:\[(.+)\](?::\d+)?|([\d.]+)(?::\d+)?)$/.exec(said) ??
    [];
  const address = withoutMapping(v6 ?? v4 ?? said);
  return /^[\da-f:.]+$/i.test(address) && isIP(address) !== 0
    ? address
    : undefined;
}

/** An IPv4 client of a socket that listens on IPv6. */
function withoutMapping(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".")
    ? address.slice(7)
    : address;
}
