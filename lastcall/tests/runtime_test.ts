import * as runtime from "#runtime";
import { assert, assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import type { Runtime } from "../../runtimes/runtime.ts";

const turn = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

describe("the event loop's delay", () => {
  test("is told where the runtime knows, and shows that it was held", async () => {
    const here: Runtime = runtime;
    const first = here.eventLoopDelay();
    if (here.name === "deno") return assertEquals(first, undefined);
    for (let i = 0; i < 10; i++) await turn(10);
    const idle = here.eventLoopDelay();
    for (let i = 0; i < 5; i++) {
      const until = performance.now() + 60;
      while (performance.now() < until);
      await turn(10);
    }
    const held = here.eventLoopDelay();
    assert(idle !== undefined && held !== undefined);
    // Another process may hold an idle one too, but hardly all the time.
    assert(held > 10 && held < 1_000, `${held} ms while held, ${idle} before`);
    assert(idle >= 0 && idle < held, `${held} ms while held, ${idle} before`);
  });
});
