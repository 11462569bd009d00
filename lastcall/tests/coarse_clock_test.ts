import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import { CoarseClock } from "../../runtimes/coarse_clock.ts";
import { TICK } from "../../runtimes/times.ts";

test("a coarse clock calls recent what may have been", () => {
  let time = 1000;
  const clock = new CoarseClock(() => time);
  time += TICK - 1;
  const since = clock.now;
  assertEquals(since, 1000);
  time += 1;
  clock.tick();
  time += 49;
  assert(clock.isRecent(since, 50));
  time += 1;
  assert(!clock.isRecent(since, 50));
});

test("a coarse clock knows by how much it was late", () => {
  let time = 1000;
  const clock = new CoarseClock(() => time);
  // The loop is held up, and then reads a request before the next tick.
  time += 3 * TICK;
  const since = clock.now;
  assertEquals(clock.tick(), 1000 + 3 * TICK);
  time += 49;
  assert(clock.isRecent(since, 50));
  time += 1;
  assert(!clock.isRecent(since, 50));
  assert(clock.isRecent(clock.now, 50, time + 3 * TICK));
});
