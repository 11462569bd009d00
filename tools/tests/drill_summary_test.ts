// What is made of a drill when it is over.
import { assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import type { Fate } from "../drill/fate.js";
import type { Sent } from "../drill/load.js";
import { bandsOf, latencyOf, momentOf, summarise } from "../drill/summary.js";

const mix = [{ method: "GET", path: "/", weight: 1 }];
const limits = { maxDropped: 0, maxRaced: Infinity, maxRefused: Infinity };
const server = { startedAt: 0, readyAt: 100, bands: [] };
const restarted = {
  ...server,
  signalAt: 1000,
  exitAt: 1200,
  ending: "exit 0",
  exitCode: 0,
};

function sent(due: number, ms: number, fate: Fate = "answered"): Sent {
  return {
    due,
    began: due,
    ended: due + ms,
    route: 0,
    connection: 0,
    nth: 2,
    status: fate === "answered" ? 200 : 0,
    fate,
    cause: fate === "answered" ? "" : "because",
  };
}

describe("the summary", () => {
  test("tells draining from serving, by the moment a request was due", () => {
    const requests = [
      sent(500, 4),
      sent(999, 8),
      sent(1000, 16),
      sent(1199, 32),
      sent(1200, 64),
      sent(1100, 1, "refused"),
    ];
    const { latency, fates, restarts, lost, verdict } = summarise(
      requests,
      [restarted, server],
      mix,
      limits,
      [],
    );
    assertEquals(latency, {
      serving: { count: 3, p50: 8, p99: 64, max: 64 },
      draining: { count: 2, p50: 16, p99: 32, max: 32 },
    });
    assertEquals(fates.refused, 1);
    const ended = { ending: "exit 0", exitCode: 0, exitSignal: null };
    assertEquals(restarts, [{ signalAt: 1000, ms: 200, ...ended }]);
    assertEquals(lost, []);
    assertEquals(verdict, { ok: true, reasons: [] });
  });

  test("names each lost request, in the order of time", () => {
    const { lost } = summarise(
      [
        sent(1300, 5, "raced"),
        sent(990, 20, "dropped"),
        sent(1, 1, "refused"),
      ],
      [restarted],
      mix,
      limits,
      [],
    );
    assertEquals(lost.map(({ at, fate, moment }) => ({ at, fate, moment })), [
      { at: 990, fate: "dropped", moment: "10 ms before signal 1" },
      { at: 1300, fate: "raced", moment: "100 ms after exit 1" },
    ]);
    assertEquals(lost[0]?.method, "GET");
    assertEquals(lost[0]?.cause, "because");
  });

  test("is bad where more was lost than was allowed", () => {
    const lose = (maxDropped: number, maxRaced: number, ...fates: Fate[]) =>
      summarise(
        [sent(1, 1), ...fates.map((fate) => sent(2, 2, fate))],
        [restarted],
        mix,
        { maxDropped, maxRaced, maxRefused: Infinity },
        [],
      ).verdict;
    assertEquals(lose(0, 0, "refused"), { ok: true, reasons: [] });
    assertEquals(lose(0, Infinity, "raced").ok, true);
    assertEquals(lose(3, 1, "dropped", "timed out", "wrong status").ok, true);
    for (const fate of ["dropped", "timed out", "wrong status"] as const) {
      assertEquals(lose(0, 0, fate).reasons, [
        "1 of 2 requests were dropped, timed out or got a wrong status; " +
        "expected none.",
      ]);
    }
    assertEquals(lose(0, 1, "raced", "raced").reasons, [
      "2 of 3 requests were raced; expected at most 1.",
    ]);
  });

  test("is bad where one was refused though somebody was to listen", () => {
    const requests = [sent(1, 1), sent(2, 2, "refused")];
    const { verdict } = summarise(
      requests,
      [restarted],
      mix,
      { ...limits, maxRefused: 0 },
      [],
    );
    assertEquals(verdict.reasons, [
      "1 of 2 requests were refused; expected none, for somebody was to " +
      "listen all the time.",
    ]);
  });

  test("is bad where something went wrong, or nothing was answered", () => {
    const none = summarise([], [], mix, limits, ["The server went away."]);
    assertEquals(none.verdict, {
      ok: false,
      reasons: ["The server went away.", "Not one request was answered."],
    });
  });
});

test("percentiles are latencies that somebody had", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assertEquals(latencyOf(hundred), { count: 100, p50: 50, p99: 99, max: 100 });
  assertEquals(latencyOf([7]), { count: 1, p50: 7, p99: 7, max: 7 });
  assertEquals(latencyOf([]), { count: 0, p50: 0, p99: 0, max: 0 });
});

test("a moment is told by the nearest signal or exit", () => {
  const servers = [restarted, { ...restarted, signalAt: 3000, exitAt: 3500 }];
  const at = (began: number, ended = began + 1) =>
    momentOf({ began, ended }, servers);
  assertEquals(at(10), "before the first signal");
  assertEquals(at(990, 1010), "10 ms before signal 1");
  assertEquals(at(1000), "0 ms after signal 1");
  assertEquals(at(1250), "50 ms after exit 1");
  assertEquals(at(2990, 3000), "10 ms before signal 2");
  assertEquals(at(3600), "100 ms after exit 2");
});

describe("the bands", () => {
  const life = {
    startedAt: 0,
    readyAt: 100,
    signalAt: 1000,
    exitAt: 1300,
    reportAt: undefined,
    report: undefined,
  };

  test("without a report the server was stopping", () => {
    assertEquals(bandsOf(life, 5000), [
      { name: "starting", from: 0, to: 100 },
      { name: "serving", from: 100, to: 1000 },
      { name: "stopping", from: 1000, to: 1300 },
    ]);
  });

  test("with one they are its own phases, up to the line that told", () => {
    const report = {
      outcome: "clean",
      phases: [
        { phase: "starting", ms: 90 },
        { phase: "serving", ms: 905 },
        { phase: "draining", ms: 50 },
        { phase: "closing", ms: 200 },
        { phase: "cleanup", ms: 0 },
      ],
    };
    const told = { ...life, report, reportAt: 1290 };
    assertEquals(bandsOf(told, 5000).slice(2), [
      { name: "draining", from: 1040, to: 1090 },
      { name: "closing", from: 1090, to: 1290 },
      { name: "exiting", from: 1290, to: 1300 },
    ]);
  });

  test("of a server that ended by itself end with it", () => {
    assertEquals(bandsOf({ ...life, signalAt: undefined }, 5000), [
      { name: "starting", from: 0, to: 100 },
      { name: "serving", from: 100, to: 1300 },
    ]);
  });

  test("of a server that goes on there is no end", () => {
    const { startedAt, readyAt, reportAt, report } = life;
    const on = { signalAt: undefined, exitAt: undefined };
    assertEquals(
      bandsOf({ startedAt, readyAt, reportAt, report, ...on }, 5000),
      [
        { name: "starting", from: 0, to: 100 },
        { name: "serving", from: 100, to: 5000 },
      ],
    );
  });
});
