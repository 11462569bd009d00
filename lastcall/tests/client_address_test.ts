import { assertEquals } from "@std/assert";
import { Hono } from "hono";
import { describe, test } from "node:test";
import { clientAddresses } from "../client_address.ts";

/** What is taken for the client's address where this is the connection's. */
async function seen(
  proxies: string[],
  headers: Record<string, string>,
  peer: string | undefined = "127.0.0.1",
): Promise<string> {
  const info = () => ({ remote: { address: peer } });
  const clientAddress = clientAddresses(info, proxies);
  const app = new Hono();
  app.get("/", (c) => c.text(String(clientAddress(c))));
  return await (await app.request("/", { headers })).text();
}

describe("the client's address", () => {
  test("is the peer's, whatever it says, where no proxy is trusted", async () => {
    const headers = { "X-Forwarded-For": "1.2.3.4", Forwarded: "for=1.2.3.4" };
    assertEquals(await seen([], headers), "127.0.0.1");
    assertEquals(await seen(["10.0.0.0/8"], headers), "127.0.0.1");
  });

  const cases: [string, string[], Record<string, string>, string][] = [
    ["no header", ["loopback"], {}, "127.0.0.1"],
    ["one hop", ["loopback"], { "X-Forwarded-For": "1.2.3.4" }, "1.2.3.4"],
    [
      "what the client sent itself, before the proxy's",
      ["loopback"],
      { "X-Forwarded-For": "6.6.6.6, 1.2.3.4" },
      "1.2.3.4",
    ],
    [
      "a chain of proxies, right to left",
      ["127.0.0.1", "10.1.0.0/16"],
      { "X-Forwarded-For": "6.6.6.6,1.2.3.4,10.1.2.3 , 10.1.255.255" },
      "1.2.3.4",
    ],
    [
      "proxies alone",
      ["loopback", "private"],
      { "X-Forwarded-For": "192.168.1.1, 10.0.0.1" },
      "192.168.1.1",
    ],
    [
      "no address ends the walk",
      ["loopback", "private"],
      { "X-Forwarded-For": "1.2.3.4, unknown, 10.0.0.1" },
      "10.0.0.1",
    ],
    ["nonsense", ["loopback"], { "X-Forwarded-For": '"<script>' }, "127.0.0.1"],
    ["a port", ["loopback"], { "X-Forwarded-For": "1.2.3.4:5678" }, "1.2.3.4"],
    [
      "IPv6",
      ["loopback", "2001:db8::/32"],
      { "X-Forwarded-For": "2001:4860::1, [2001:db8::7]:443" },
      "2001:4860::1",
    ],
    [
      "IPv4 in IPv6",
      ["loopback"],
      { "X-Forwarded-For": "::ffff:1.2.3.4" },
      "1.2.3.4",
    ],
    [
      "a network card's name",
      ["loopback"],
      { "X-Forwarded-For": "fe80::1%eth0" },
      "127.0.0.1",
    ],
    [
      "Forwarded",
      ["loopback", "private"],
      {
        Forwarded:
          'for=6.6.6.6, proto=https;For="[2001:db8::1]:4711", for=10.0.0.1;by=_x',
      },
      "2001:db8::1",
    ],
    [
      "both: the one that proxies write",
      ["loopback"],
      { "X-Forwarded-For": "1.2.3.4", Forwarded: "for=6.6.6.6" },
      "1.2.3.4",
    ],
  ];
  for (const [what, proxies, headers, address] of cases) {
    test(what, async () => {
      assertEquals(await seen(proxies, headers), address);
    });
  }

  test("is the peer's, whatever family its socket has", async () => {
    const headers = { "X-Forwarded-For": "1.2.3.4" };
    assertEquals(
      await seen(["loopback"], headers, "::ffff:127.0.0.1"),
      "1.2.3.4",
    );
    assertEquals(await seen(["loopback"], headers, "::1"), "1.2.3.4");
    assertEquals(await seen(["fe80::/10"], headers, "fe80::1%eth0"), "1.2.3.4");
    assertEquals(await seen([], headers, "::ffff:127.0.0.1"), "127.0.0.1");
  });

  test("is unknown where no connection brought the request", async () => {
    const clientAddress = clientAddresses(() => {
      throw new TypeError("no connection");
    }, ["loopback"]);
    const app = new Hono();
    app.get("/", (c) => c.text(String(clientAddress(c))));
    const headers = { "X-Forwarded-For": "1.2.3.4" };
    const response = await app.request("/", { headers });
    assertEquals(await response.text(), "undefined");
  });
});
