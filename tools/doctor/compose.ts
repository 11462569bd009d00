import { dirname, join, relative } from "node:path";
import { examineAlive } from "./alive.ts";
import { examineCommand, examineSignal, splitWords } from "./command.ts";
import { type Diagnosis, warning } from "./finding.ts";
import { timeSpan } from "./time_span.ts";
import { readTimes } from "./times.ts";
import type { Variables } from "./variables.ts";

interface Service {
  build?: string | { context?: string; dockerfile?: string };
  healthcheck?: { test?: string | string[]; disable?: boolean };
  environment?: Record<string, unknown> | string[];
  env_file?: unknown;
  command?: string | string[];
  entrypoint?: string | string[];
  stop_grace_period?: string;
  stop_signal?: string;
  deploy?: { replicas?: number };
  scale?: number;
}

const SETTING = /^(DRAIN|IDLE_GRACE|CLEANUP)_.*MS$/;
const CONTAINERFILE = /(^|\/)Containerfile\.(node|bun|deno)$/;
/** Compose's own. */
const DEFAULT_GRACE = 10_000;

export function examineCompose(
  { services = {} }: { services?: Record<string, Service> },
  path: string,
  variables: Variables,
): Diagnosis {
  const { findings, servers }: Diagnosis = { findings: [], servers: [] };
  for (const [name, service] of Object.entries(services)) {
    const env = environmentOf(service);
    if (!isOurs(service, env, dirname(path))) continue;
    const read = readTimes(name, {
      value: (wanted) => env.get(wanted),
      has: (wanted) => env.has(wanted) || service.env_file !== undefined,
    }, variables);
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
    if (asksAlive(service)) {
      findings.push(...examineAlive(name, (wanted) => env.has(wanted)));
    }
    if ((service.scale ?? service.deploy?.replicas ?? 1) > 1) {
      findings.push(warning(
        `${name} has replicas`,
        "Compose replaces all replicas of a service at once",
        "give each a service of its own, and restart one after the other",
      ));
    }
  }
  const built = Object.entries(services)
    .filter(([, { build }]) => build !== undefined).map(([name]) => name);
  if (servers.length === 0 && built.length > 0) {
    findings.push(warning(
      `none of what is built here (${built.join(", ")}) looks like this server`,
      "so nobody has added up its times",
      "give it an environment with DRAIN_DELAY_MS, if only 0, and it is known",
    ));
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

/**
 * Not a database or a sidecar, which may be built here too: it has our settings, or
 * is built from one of our Containerfiles, or from this project's own Dockerfile.
 */
function isOurs(
  { build }: Service,
  env: Map<string, string>,
  folder: string,
): boolean {
  if ([...env.keys()].some((name) => SETTING.test(name))) return true;
  if (build === undefined) return false;
  const { context = ".", dockerfile = "Dockerfile" } = typeof build === "string"
    ? { context: build }
    : build;
  return CONTAINERFILE.test(dockerfile) ||
    dockerfile === "Dockerfile" && relative(".", join(folder, context)) === "";
}

/** By a check of its own, or by that of our images. */
function asksAlive({ build, healthcheck }: Service): boolean {
  if (healthcheck?.disable) return false;
  const { test } = healthcheck ?? {};
  if (test !== undefined) return String(test).includes("alive.js");
  return typeof build === "object" &&
    CONTAINERFILE.test(build.dockerfile ?? "");
}
