import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { Outage } from "../../src/bookmarks/outage.ts";

test("an outage is told once, whatever ends while the database comes and goes", () => {
  const told: string[] = [];
  const outage = new Outage(({ message }) => void told.push(message));
  const before = outage.moment;
  outage.seen("gone", before);
  outage.over(before); // a query that had got through just before
  const meanwhile = outage.moment;
  outage.seen("gone", meanwhile);
  outage.over(meanwhile);
  outage.seen("gone", meanwhile); // one that had begun in the outage
  assertEquals(told, ["database unavailable", "database available again"]);
  outage.seen("gone again", outage.moment);
  assertEquals(told.length, 3);
});
