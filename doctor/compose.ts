import { examineCommand, examineSignal, splitWords } from "./command.ts";
import { type Diagnosis, warning } from "./finding.ts";
import { timeSpan } from "./time_span.ts";
import { readTimes } from "./times.ts";

interface Service {
  build?: unknown;
  environment?: Record<string, unknown> | string[];
  command?: string | string[];
  entrypoint?: string | string[];
  stop_grace_period?: string;
  stop_signal?: string;
  deploy?: { replicas?: number };
  scale?: number;
}

/** Compose's own. */
const DEFAULT_GRACE = 10_000;

export function examineCompose(
  { services = {} }: { services?: Record<string, Service> },
): Diagnosis {
  const { findings, servers }: Diagnosis = { findings: [], servers: [] };
  for (const [name, service] of Object.entries(services)) {
    const env = environmentOf(service);
    if (!isOurs(service, env)) continue;
    const read = readTimes(name, (wanted) => env.get(wanted));
    findings.push(...read.findings);
    const own = service.stop_grace_period;
    servers.push({
      name,
      times: read.times,
      preStop: 0,
      grace: own === undefined
        ? { ms: DEFAULT_GRACE, setting: "Compose's default stop_grace_period" }
        : { ms: timeSpan(own), setting: "stop_grace_period" },
    });
    for (const key of ["entrypoint", "command"] as const) {
      const words = service[key] ?? [];
      findings.push(...examineCommand(
        `the ${key} of ${name}`,
        typeof words === "string" ? splitWords(words) : words,
      ));
    }
    if (service.stop_signal !== undefined) {
      const where = `the stop_signal of ${name}`;
      findings.push(...examineSignal(where, service.stop_signal));
    }
    if ((service.scale ?? service.deploy?.replicas ?? 1) > 1) {
      findings.push(warning(
        `${name} has replicas`,
        "Compose replaces all replicas of a service at once",
        "give each a service of its own, and restart one after the other",
      ));
    }
  }
  return { findings, servers };
}

function environmentOf({ environment = {} }: Service): Map<string, string> {
  const pairs = Array.isArray(environment)
    ? environment.map((line) => {
      const equals = line.indexOf("=");
      // A name alone is handed through from the shell: nobody knows its value.
      return equals < 0
        ? [line, ""]
        : [line.slice(0, equals), line.slice(equals + 1)];
    })
    : Object.entries(environment).map(([name, value]) => [
      name,
      String(value ?? ""),
    ]);
  return new Map(
    (pairs as [string, string][])
      // Not set, or taken from a shell that is not here: the default counts.
      .map(([name, value]) => [name, value.includes("${") ? "" : value]),
  );
}

function isOurs({ build }: Service, env: Map<string, string>): boolean {
  return build !== undefined ||
    [...env.keys()].some((name) =>
      /^(DRAIN|IDLE_GRACE|CLEANUP)_.*MS$/.test(name)
    );
}
