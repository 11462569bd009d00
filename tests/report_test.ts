import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { summaryOf } from "../src/kit/report.ts";

const report = {
  reason: "SIGINT",
  outcome: "clean" as const,
  exitCode: 0,
  phases: [
    { phase: "serving" as const, ms: 60_000 },
    { phase: "draining" as const, ms: 1 },
    { phase: "closing" as const, ms: 10 },
    { phase: "cleanup" as const, ms: 1 },
  ],
  requests: { inFlight: 0, completed: 0, cut: [] },
  sockets: { open: 0, cut: 0 },
  hooks: [],
  jobs: [],
  waitUntil: [],
  errors: [],
};

test("a clean end is told in a few words", () => {
  assertEquals(summaryOf(report), "stopped cleanly in 12 ms, after SIGINT");
});

test("what was cut, and what went wrong, is told by name", () => {
  const cut = [{ method: "GET", path: "/slow", ageMs: 12_034 }];
  assertEquals(
    summaryOf({
      ...report,
      outcome: "timeout",
      requests: { inFlight: 1, completed: 0, cut },
      sockets: { open: 2, cut: 2 },
      errors: ["hook database timed out"],
    }),
    "stopped at a deadline in 12 ms, after SIGINT; " +
      "cut: GET /slow after 12034 ms, 2 WebSockets; " +
      "errors: hook database timed out",
  );
});
