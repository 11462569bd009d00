/** What the app is told of its own shutdown: read, and looked at. */
import { LONGEST_WAIT } from "#lastcall";
import { error, type Finding, type Times, warning } from "./finding.ts";
import type { Variables } from "./variables.ts";

/** As the engine closes WebSockets: so many at once, every 100 ms. */
const SOCKETS_PER_SECOND = 10_000;
const SHORT_DRAIN = 2_000;
/** What Deno and Bun take at least, and a balancer on another machine needs. */
const SHORT_GRACE = 100;

/** What a server is told, as far as a file shows it. */
export interface Told {
  value(name: string): string | undefined;
  /** Whether it is given, if only as a reference to where the value is. */
  has(name: string): boolean;
}

const names = {
  drainDelay: "DRAIN_DELAY_MS",
  idleGrace: "IDLE_GRACE_MS",
  drainTimeout: "DRAIN_TIMEOUT_MS",
  cleanupTimeout: "CLEANUP_TIMEOUT_MS",
} as const;

/** Where a value is none, the default counts. */
export function readTimes(
  where: string,
  told: Told,
  { defaults, required }: Variables,
): { times: Times; findings: Finding[] } {
  const findings: Finding[] = [];
  const times = {} as Times;
  for (const [key, name] of Object.entries(names)) {
    const own = told.value(name);
    const fallback = Number(defaults.get(name));
    const isTime = !own || /^[0-9]+$/.test(own) && Number(own) <= LONGEST_WAIT;
    times[key as keyof Times] = own && isTime ? Number(own) : fallback;
    if (isTime) continue;
    findings.push(error(
      `${where}: ${name} is ${
        JSON.stringify(own)
      }; expected a whole number of ` +
        "milliseconds, such as 500",
      "the server will not start, and exit with 78",
      "mend the value",
    ));
  }
  if (findings.length === 0) findings.push(...examineTimes(where, times));
  for (const name of required.filter((name) => !told.has(name))) {
    findings.push(error(
      `${where} is not given ${name}`,
      "the server does not start without it, and exits with 78",
      "give it a value, or a reference to the secret that has it",
    ));
  }
  findings.push(...examineDemo(where, told.value("DEMO") === "true"));
  return { times, findings };
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
