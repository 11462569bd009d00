import { assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import { canBeOpen, insightInto } from "../../runtimes/bun_insight.ts";

const request = new Request("http://localhost/");
const address = { address: "127.0.0.1", port: 1, family: "IPv4" };

describe("what Bun tells of open requests", () => {
  test("is believed where it counts and names the one at hand", () => {
    const bun = { pendingRequests: 1, requestIP: () => address };
    assertEquals(insightInto(bun, request), { counts: true, names: true });
  });

  test("is a number alone where it names nobody, as on a Unix socket", () => {
    const bun = { pendingRequests: 3, requestIP: () => null };
    assertEquals(insightInto(bun, request), { counts: true, names: false });
  });

  const blind = { counts: false, names: false };
  test("is nothing where it does not count the one at hand", () => {
    for (const pendingRequests of [0, NaN, undefined as unknown as number]) {
      const bun = { pendingRequests, requestIP: () => address };
      assertEquals(insightInto(bun, request), blind);
    }
  });

  test("is nothing where it throws", () => {
    const requestIP = () => {
      throw new TypeError("no such function");
    };
    assertEquals(
      insightInto({ pendingRequests: 1, requestIP }, request),
      blind,
    );
  });

  test("cannot name more than it counts", () => {
    const bun = { pendingRequests: 2, requestIP: () => address };
    assertEquals([2, 3].map((many) => canBeOpen(bun, many)), [true, false]);
  });
});
