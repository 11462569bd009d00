import { readFileSync } from "node:fs";
import process from "node:process";
import { budgetOf } from "./budget.ts";
import { examineEnvironment } from "./environment.ts";
import { examineFile, examineTogether } from "./examine.ts";
import { filesOf } from "./files.ts";
import type { Diagnosis, Finding } from "./finding.ts";
import { readVariables } from "./variables.ts";

/** Empty where there is no such thing, or nobody may look. */
function processOne(): string[] {
  try {
    return readFileSync("/proc/1/cmdline", "utf8").split("\0").filter(Boolean);
  } catch {
    return [];
  }
}

function print(where: string, findings: Finding[]): void {
  for (const { level, what, why, todo } of findings) {
    console.log(`${where}: ${level}: ${what}.`);
    console.log(`  Why: ${why}.`);
    console.log(`  What to do: ${todo}.`);
  }
}

export function main(paths: string[]): number {
  if (paths.some((path) => /^(--help|-h)$/.test(path))) {
    console.log(HELP);
    return 0;
  }
  const variables = readVariables(".env.example");
  const found: Finding[] = [];
  const all: Diagnosis[] = [];
  let unread = 0;
  const look = (where: string, diagnosis: Diagnosis) => {
    all.push(diagnosis);
    found.push(...diagnosis.findings);
    print(where, diagnosis.findings);
    for (const server of diagnosis.servers) {
      const { grace, name } = server;
      if (!grace) continue;
      const { needed, sum } = budgetOf(server);
      const sign = grace.ms >= needed ? ">=" : "<";
      const given = grace.ms === Infinity ? "no limit" : `${grace.ms / 1000} s`;
      console.log(`${where}: ${name}: ${given} ${sign} ${sum}`);
    }
  };

  look(
    "environment",
    examineEnvironment(
      (name) => process.env[name],
      processOne(),
      variables,
    ),
  );
  for (const path of paths.length > 0 ? paths : filesOf(".")) {
    let diagnosis: Diagnosis | undefined;
    try {
      diagnosis = examineFile(path, readFileSync(path, "utf8"), variables);
    } catch (error) {
      console.log(`${path}: it cannot be read: ${(error as Error).message}`);
      unread++;
      continue;
    }
    if (diagnosis) look(path, diagnosis);
    else if (paths.length > 0) {
      console.log(
        `${path}: nobody here knows such a file; expected Kubernetes or Compose ` +
          "YAML, a systemd unit, a Containerfile, or a configuration of HAProxy " +
          "(.cfg) or nginx (.conf).",
      );
      unread++;
    }
  }
  const together = examineTogether(all);
  found.push(...together);
  print("together", together);

  const errors = found.filter(({ level }) => level === "error").length + unread;
  const warnings = found.length - (errors - unread);
  console.log(`\n${errors} errors, ${warnings} warnings`);
  return errors > 0 ? 1 : 0;
}

const HELP =
  `Reads the files that deploy this server, and the environment, and says what will
lose requests, why, and what to do. The exit code is 1 if anything will.

  npm run doctor                       what lies in deploy/ and beside it
  npm run doctor -- k8s/app.yaml ...   these files; or bun run, deno task
`;
