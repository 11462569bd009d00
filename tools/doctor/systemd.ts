import { examineCommand, examineSignal, splitWords } from "./command.ts";
import { type Diagnosis, error, warning } from "./finding.ts";
import { timeSpan } from "./time_span.ts";
import { readTimes } from "./times.ts";
import type { Variables } from "./variables.ts";

/** systemd's own DefaultTimeoutStopSec. */
const DEFAULT_GRACE = "90";

export function examineSystemd(
  text: string,
  name: string,
  variables: Variables,
): Diagnosis {
  const settings = settingsOf(text);
  const last = (key: string) => settings.get(key)?.at(-1);
  const env = new Map(
    (settings.get("Environment") ?? []).flatMap(splitWords).map((pair) => {
      const equals = pair.indexOf("=");
      return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
    }),
  );
  const { times, findings } = readTimes(name, {
    value(wanted) {
      const value = env.get(wanted);
      // %i is filled in when the unit starts.
      return value?.includes("%") ? undefined : value;
    },
    has: (wanted) => env.has(wanted) || settings.has("EnvironmentFile"),
  }, variables);
  const own = last("TimeoutStopSec") ?? last("TimeoutSec");
  // No time at all would be nonsense, so systemd takes 0 as no limit.
  const grace = timeSpan(own ?? DEFAULT_GRACE) || Infinity;

  for (const line of settings.get("ExecStart") ?? []) {
    // What may stand in front of the program is not part of it.
    const command = splitWords(line.replace(/^[-@:+!|]+/, ""));
    findings.push(...examineCommand("ExecStart", command));
  }
  const signal = last("KillSignal");
  if (signal !== undefined) {
    findings.push(...examineSignal("KillSignal", signal));
  }
  if (/^notify/.test(last("Type") ?? "")) {
    findings.push(error(
      `Type is ${last("Type")}`,
      "nobody tells systemd that it is ready: the start times out, and it is killed",
      "say Type=exec",
    ));
  }
  if (!settings.has("ExecStartPost") && !/^notify/.test(last("Type") ?? "")) {
    findings.push(warning(
      "nothing waits until the server is ready",
      "a restart is over before it is: where the new version does not come up, a " +
        "rolling restart goes on to the next server",
      "say ExecStartPost=/usr/bin/node deploy/ready.js",
    ));
  }
  const restarts = last("Restart") ?? "no";
  if (restarts !== "no" && last("StartLimitIntervalSec") !== "0") {
    findings.push(warning(
      `Restart is ${restarts}, but for five times in ten seconds only`,
      "a database that is away for longer takes the service with it for good",
      "say StartLimitIntervalSec=0 in the section [Unit]",
    ));
  }
  const never = last("RestartPreventExitStatus")?.split(/\s+/) ?? [];
  if (restarts !== "no" && !never.some((code) => /^(78|CONFIG)$/.test(code))) {
    findings.push(warning(
      `Restart is ${restarts}, also when the configuration is wrong`,
      "a wrong configuration is no better the second time; the log fills with it",
      "say RestartPreventExitStatus=78",
    ));
  }
  if (/^(yes|true|on|1)$/.test(last("MemoryDenyWriteExecute") ?? "")) {
    findings.push(error(
      "MemoryDenyWriteExecute is on",
      "every JavaScript engine writes the code it runs: it will not start",
      "leave it out",
    ));
  }
  const setting = own === undefined
    ? "systemd's default TimeoutStopSec"
    : "TimeoutStopSec";
  const server = { name, times, preStop: 0, grace: { ms: grace, setting } };
  return { findings, servers: [server] };
}

/** A key may come more than once; an empty value forgets the ones before. */
function settingsOf(text: string): Map<string, string[]> {
  const settings = new Map<string, string[]>();
  let section = "";
  for (const line of text.replaceAll(/\\\n/g, " ").split("\n")) {
    const [, header] = /^\s*\[(.+)\]\s*$/.exec(line) ?? [];
    if (header !== undefined) section = header;
    const [, key, value = ""] = /^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$/.exec(line) ??
      [];
    // StartLimitIntervalSec is [Unit]'s.
    if (key === undefined || !/^(Service|Unit)$/.test(section)) continue;
    if (value === "") settings.set(key, []);
    else settings.set(key, [...settings.get(key) ?? [], value]);
  }
  return settings;
}
