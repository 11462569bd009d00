/** What the app is told of its own shutdown: read, and looked at. */
import { readConfig } from "../../src/config.ts";
import { error, type Finding, type Times, warning } from "./finding.ts";

/** As the engine closes WebSockets: so many at once, every 100 ms. */
const SOCKETS_PER_SECOND = 10_000;
const SHORT_DRAIN = 2_000;
/** What Deno and Bun take at least, and a balancer on another machine needs. */
const SHORT_GRACE = 100;

/** The defaults and the validation are the app's own. */
export function readTimes(
  where: string,
  env: (name: string) => string | undefined,
): { times: Times; findings: Finding[] } {
  const result = readConfig(env);
  if (result.ok) {
    return {
      times: result.config,
      findings: [
        ...examineTimes(where, result.config),
        ...examineDemo(where, result.config.demo),
      ],
    };
  }
  const findings = result.problems.map((problem) =>
    error(
      `${where}: ${problem.replace(/\.$/, "")}`,
      "the server will not start, and exit with 78",
      "mend the value",
    )
  );
  const fallback = readConfig(() => undefined);
  if (!fallback.ok) throw new Error("The defaults of src/config.ts are wrong.");
  return { times: fallback.config, findings };
}

function examineDemo(where: string, demo: boolean): Finding[] {
  if (!demo) return [];
  return [warning(
    `${where}: DEMO is true`,
    "whoever asks for /slow?ms=60000 holds every shutdown to its deadline",
    "take it out where strangers are",
  )];
}

function examineTimes(where: string, times: Times): Finding[] {
  const findings: Finding[] = [];
  if (times.drainTimeout < SHORT_DRAIN) {
    const { drainTimeout } = times;
    const sockets = drainTimeout * SOCKETS_PER_SECOND / 1000;
    findings.push(warning(
      `${where}: DRAIN_TIMEOUT_MS is ${drainTimeout}`,
      `WebSockets are closed in batches, and each has to answer: after ` +
        `${sockets} of them the rest is cut; so is every request that takes longer`,
      `set it to ${SHORT_DRAIN} or more`,
    ));
  }
  if (times.idleGrace < SHORT_GRACE) {
    findings.push(warning(
      `${where}: IDLE_GRACE_MS is ${times.idleGrace}`,
      "a request that is on the wire when its connection is closed is lost",
      "leave it at its default, 250",
    ));
  }
  return findings;
}
