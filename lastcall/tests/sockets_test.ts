import { assert, assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import { Sockets } from "../sockets.ts";
import { FakeClock, settle } from "../testing/fake_clock.ts";

function setup(batch: number, count: number) {
  const clock = new FakeClock();
  const sockets = new Sockets(clock, batch);
  const log: string[] = [];
  const open = (name: string) =>
    sockets.opened({
      close: (code, reason) => log.push(`${name} ${code} ${reason}`),
      cut: () => log.push(`${name} cut`),
    });
  const closed = Array.from({ length: count }, (_, i) => open(`s${i}`));
  return { clock, sockets, log, open, closed };
}

describe("open WebSockets", () => {
  test("are told 1001 and why, and waited for", async () => {
    const { sockets, log, closed } = setup(1000, 2);
    let done = false;
    sockets.close().then(() => done = true);
    await settle();
    assertEquals(log, [
      "s0 1001 server is shutting down",
      "s1 1001 server is shutting down",
    ]);
    closed[0]!();
    await settle();
    assertEquals([done, sockets.size], [false, 1]);
    closed[1]!();
    await settle();
    assertEquals([done, sockets.size], [true, 0]);
  });

  test("are closed a batch every 100 ms, those already gone left out", async () => {
    const { clock, sockets, log, closed } = setup(2, 5);
    sockets.close();
    await settle();
    assertEquals(log.length, 2);
    closed[2]!();
    await clock.advance(99);
    assertEquals(log.length, 2);
    await clock.advance(1);
    assertEquals(log.map((line) => line.slice(0, 2)), ["s0", "s1", "s3"]);
    await clock.advance(100);
    assertEquals(log.length, 4);
    assertEquals(clock.waiting, 0);
  });

  test("that open during the drain are closed at once", async () => {
    const { sockets, log, open } = setup(1000, 0);
    await sockets.close();
    open("late");
    assertEquals(log, ["late 1001 server is shutting down"]);
  });

  test("that open during the drain are not waited for", async () => {
    const { sockets, open, closed } = setup(1000, 1);
    let done = false;
    sockets.close().then(() => done = true);
    open("late");
    await settle();
    assertEquals(done, false);
    closed[0]!();
    await settle();
    assertEquals([done, sockets.size], [true, 1]);
  });

  test("that are left can be cut", () => {
    const { sockets, log } = setup(1000, 1);
    sockets.cut();
    assertEquals(log, ["s0 cut"]);
    assert(sockets.size === 1);
  });
});
