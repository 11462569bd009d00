import { examineCommand } from "./command.ts";
import { type Diagnosis, error } from "./finding.ts";
import { readTimes } from "./times.ts";
import type { Variables } from "./variables.ts";

/**
 * The environment that the server would start in: its variables, and the command
 * line of process 1, where that can be read.
 */
export function examineEnvironment(
  env: (name: string) => string | undefined,
  processOne: string[],
  { defaults }: Variables,
): Diagnosis {
  // What is required is given where the server starts, which is not here.
  const { times, findings } = readTimes(
    "the environment",
    { value: env, has: (name) => env(name) !== undefined },
    { defaults, required: [] },
  );
  // On a whole machine process 1 is its init; in a container it is what the
  // container runs.
  findings.push(
    ...examineCommand("process 1 of this container", processOne)
      .filter(({ level }) => level === "error"),
  );
  if (/(^|\s)--inspect/.test(env("NODE_OPTIONS") ?? "")) {
    findings.push(error(
      "NODE_OPTIONS says --inspect",
      "whoever reaches that port can run code, and an open debugger holds the exit",
      "take it out where it is not needed",
    ));
  }
  return {
    findings,
    servers: [{ name: "the environment", times, preStop: 0 }],
  };
}
