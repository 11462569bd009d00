/**
 * The drill, as it is shipped: of servers that lose requests in every way it
 * knows, each of which it must notice; and of our own, which must lose none.
 */
import { after, describe, test } from "node:test";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Fate, UNACCEPTED, UNUSED } from "../../tools/drill/fate.js";
import {
  drill,
  drillBad,
  type Drilled,
  folder,
  outputs,
  removeFolder,
  run,
} from "../support/drilled.ts";
import {
  commandFor,
  executable,
  fixture,
  killAll,
  removeScratch,
  root,
  runtime,
  ServerProcess,
} from "../support/server_process.ts";

after(() => {
  killAll();
  removeScratch();
  removeFolder();
});

function causes({ seen }: Drilled, fate: Fate): string[] {
  return seen.summary.lost.filter((lost) => lost.fate === fate)
    .map(({ cause }) => cause);
}

function assertLost(drilled: Drilled, fate: Fate, cause: RegExp): void {
  const { code, seen, output } = drilled;
  assert(seen, `it wrote no summary:\n${output}${drilled.errors}`);
  assert(seen.summary.fates[fate] > 0, `it saw no ${fate}:\n${output}`);
  assert(
    causes(drilled, fate).some((found) => cause.test(found)),
    `no ${fate} has the cause ${cause}:\n${output}`,
  );
  assertEquals(code, 1);
  assertMatch(output, new RegExp(`^FAILED: \\d+ of \\d+ requests`, "m"));
}

describe("the drill notices a server that", () => {
  test("drops what is in flight", async () => {
    const drilled = await drillBad("drops-in-flight");
    assertLost(drilled, "dropped", /^it was read, and never answered$/);
    const { requests, fates, lost, restarts } = drilled.seen.summary;
    assertEquals(
      Object.values(fates).reduce((sum, n) => sum + n, 0),
      requests,
    );
    assert(fates.answered > 0 && fates.refused > 0, drilled.output);
    assertEquals(
      lost.length,
      requests - fates.answered - fates.refused,
    );
    // Those that the signal found in flight, and none of another time.
    const dropped = lost.filter(({ fate }) => fate === "dropped");
    assert(
      dropped.every(({ moment }) => /(before|after) signal 1$/.test(moment)),
      drilled.output,
    );
    assertEquals(restarts.length, 1);
    assertEquals(restarts[0]?.ending, "exit code 0");
    assertEquals(restarts[0]?.exitCode, 0);
    assertEquals(restarts[0]?.exitSignal, null);
  });

  test("cuts its answers", async () => {
    const drilled = await drillBad("cuts-answers");
    assertLost(drilled, "dropped", /ended after 30 bytes of the answer$/);
  });

  test("answers with a wrong status", async () => {
    const drilled = await drillBad("answers-503");
    assertLost(drilled, "wrong status", /^answered with 503$/);
  });

  test("never answers", async () => {
    const drilled = await drillBad("hangs", "--timeout", "0.1");
    assertLost(drilled, "timed out", /^not a byte of an answer came$/);
  });

  test("closes kept connections with requests on the way", async () => {
    const drilled = await drillBad("resets-kept", "--max-raced", "0");
    assertLost(drilled, "raced", /^the kept connection was reset/);
    assertMatch(drilled.output, /requests were raced; expected none\.$/m);
  });

  test("ends by itself", async () => {
    const { code, output, seen } = await drillBad("leaves", "--between", "2");
    assertEquals(code, 1);
    assertMatch(
      output,
      /^FAILED: The server ended by itself \(exit code 3\)/m,
    );
    assertEquals(seen.summary.restarts, []);
  });

  test("does not start", async () => {
    const { code, errors } = await drill("--command", "no-such-server");
    assertEquals(code, 1);
    assertMatch(errors, /^no-such-server: .*before it listened/m);
    assertMatch(errors, /ENOENT|No such file|not found/i);
  });
});

/**
 * What became of the drill of a server that promises to lose nothing. In the
 * instant in which a listener closes, new connections may still wait in the
 * system's queue, and are reset. Where the machine takes the processor away in
 * that instant, it is all that come meanwhile.
 */
function assertKept({ code, output, errors, seen }: Drilled, restarts: number) {
  assert(seen, `it wrote no summary:\n${output}${errors}`);
  const { fates, latency, lost } = seen.summary;
  const others = lost.filter(({ nth, cause }) =>
    nth !== 1 || cause !== UNACCEPTED && cause !== UNUSED
  );
  assertEquals(others, [], output);
  assertEquals(code, 0, output);
  assert(fates.answered > 0 && latency.draining.count > 0, output);
  assertEquals(seen.summary.restarts.length, restarts);
  for (const { ending, outcome } of seen.summary.restarts) {
    assertEquals(ending, "exit code 0");
    assertEquals(outcome, "clean");
  }
  const bands = seen.servers[0]?.bands.map(({ name }) => name) ?? [];
  assert(bands.includes("closing"), bands.join());
}
/** What comes in 100 ms at the drill's 200 requests a second; on Node, none. */
const UNLUCKY = runtime === "node" ? "0" : "20";

/** The command as it is shipped, with the template itself to drill. */
function drillOwn(...args: string[]): Promise<Drilled> {
  const shipped = {
    deno: [executable, "task", "drill"],
    bun: [executable, "run", "drill"],
    node: ["npm", "run", "drill", "--"],
  }[runtime];
  const times = ["--restarts", "2", "--between", "0.6"];
  const limits = ["--max-dropped", UNLUCKY, "--max-raced", "0"];
  return run(shipped, [...outputs, ...times, ...limits, ...args]);
}

describe("the drill finds that lastcall", () => {
  test("loses nothing", { timeout: 60_000 }, async () => {
    const drilled = await drillOwn();
    assertKept(drilled, 2);
    // Whether a request falls between the two is the machine's affair.
    const [first, second] = drilled.seen.servers;
    assert((first?.exitAt ?? NaN) <= (second?.startedAt ?? NaN));
  });

  test("refuses nothing where the next one starts first", {
    timeout: 60_000,
  }, async () => {
    const drilled = await drillOwn("--overlap");
    if (/reusePort needs Node 22.12/.test(drilled.errors)) {
      assertEquals(process.versions.node.split(".")[0], "20");
      assertMatch(drilled.errors, /exit code 1, before it listened/);
      assertEquals(drilled.code, 1);
      return;
    }
    assertKept(drilled, 2);
    assertEquals(drilled.seen.summary.fates.refused, 0, drilled.output);
    // Each is ready before the one before it is told to go.
    const [first, second] = drilled.seen.servers;
    assert((second?.readyAt ?? NaN) <= (first?.signalAt ?? NaN));
  });

  test("is heard where it already runs", { timeout: 60_000 }, async () => {
    const server = await new ServerProcess(await commandFor(fixture))
      .listening();
    const drilled = await drill(
      ...["--target", server.url, "--signal-command", `kill -0 ${server.pid}`],
      ...["--restarts", "1", "--between", "0.4"],
    );
    assertEquals(drilled.code, 0, drilled.output + drilled.errors);
    const { requests, fates } = drilled.seen.summary;
    assertEquals(fates.answered, requests);
    const gone = path.join(folder, "gone");
    fs.mkdirSync(path.join(root, gone));
    fs.rmSync(drilled.page, { force: true });
    const failed = await drill(
      ...["--target", server.url, "--restarts", "1", "--between", "0.2"],
      ...["--signal-command", `sh -c 'rm -r ${gone}; exit 5'`],
      ...["--json", path.join(gone, "drill.json")],
    );
    assertEquals(failed.code, 1);
    assertMatch(failed.output, /^FAILED: sh .*: exit code 5, in restart 1/m);
    assertMatch(failed.errors, /drill\.json could not be written: /);
    assert(fs.existsSync(failed.page), "the picture has nothing to do with it");
  });
});

test("a name that nobody has is no fault of a server", async () => {
  const { code, errors, seen } = await drill(
    ...["--target", "http://no-such-host.invalid", "--signal-command", "true"],
  );
  assertEquals(code, 1);
  assertMatch(errors, /could not connect \(E\w+\).*; check the name/);
  assertEquals(seen, undefined);
});

test("what cannot be written is told before the drill, exit 78", async () => {
  const nowhere = path.join(folder, "nowhere", "drill.html");
  const { code, errors, output } = await drill(
    ...["--html", nowhere, "--json", folder],
  );
  assertEquals(code, 78);
  const told = errors.trim().split("\n");
  assertEquals(told.length, 2, errors);
  assertEquals(told[0]?.startsWith(`${nowhere} could not be written: `), true);
  assertEquals(told[1]?.startsWith(`${folder} could not be written: `), true);
  assertEquals(output, "");
});

test("what is wrong with the options is told at once, exit 78", async () => {
  const { code, errors, seen } = await drill("--rate", "fast", "--html=");
  assertEquals(code, 78);
  assertEquals(errors.trim().split("\n"), [
    "--html has no value; --help tells of each.",
    '--rate is "fast"; expected a whole number from 1 to 100000.',
  ]);
  assertEquals(seen, undefined);
});
