/** What a file is, and who looks at it. */
import { parseAllDocuments } from "yaml";
import { examineBudget } from "./budget.ts";
import { examineCompose } from "./compose.ts";
import { examineContainerfile } from "./containerfile.ts";
import { type Diagnosis, error, type Finding } from "./finding.ts";
import { examineHaproxy } from "./haproxy.ts";
import { examineKubernetes } from "./kubernetes.ts";
import { examineNginx } from "./nginx.ts";
import { examineSystemd } from "./systemd.ts";
import type { Variables } from "./variables.ts";

/** Undefined for a file that says nothing about how a server is run. */
export function examineFile(
  path: string,
  text: string,
  variables: Variables,
): Diagnosis | undefined {
  const name = path.replace(/^.*[/\\]/, "");
  if (/\.ya?ml$/.test(name)) return examineYaml(text, path, variables);
  if (name.endsWith(".service")) return examineSystemd(text, name, variables);
  if (/^(Container|Docker)file/i.test(name)) return examineContainerfile(text);
  if (name.endsWith(".cfg") && /^\s*backend\s/m.test(text)) {
    return examineHaproxy(text);
  }
  if (name.endsWith(".conf") && /\bproxy_pass\s/.test(text)) {
    return examineNginx(text);
  }
}

function examineYaml(
  text: string,
  path: string,
  variables: Variables,
): Diagnosis | undefined {
  const documents = parseAllDocuments(text, { merge: true });
  for (const { errors: [first] } of documents) {
    if (!first) continue;
    const [what = ""] = first.message.split("\n");
    return {
      findings: [error(what, "nobody can read the file", "mend it")],
      servers: [],
    };
  }
  const contents = documents.map((document) => document.toJS());
  if (contents.some((one) => one?.services)) {
    return examineCompose(contents[0], path, variables);
  }
  if (contents.some((one) => one?.kind && one?.apiVersion)) {
    return examineKubernetes(contents, variables);
  }
}

/** What only shows when all is seen: each one's time, and what the others do. */
export function examineTogether(all: Diagnosis[]): Finding[] {
  const servers = all.flatMap((one) => one.servers);
  const findings = servers.flatMap(examineBudget);
  const noticing = all.flatMap((one) => one.noticing ?? [])
    .sort((a, b) => b.ms - a.ms)[0];
  if (!noticing) return findings;
  for (const { name, times, grace, preStop } of servers) {
    // What the environment of this shell says is nobody's deployment.
    if (!grace || preStop + times.drainDelay > noticing.ms) continue;
    findings.push(error(
      `${name} leaves ${times.drainDelay} ms after /readyz turned red, and the ` +
        `balancer takes ${noticing.ms} ms to notice (${noticing.how})`,
      "it goes on sending requests to a server that has closed",
      `set DRAIN_DELAY_MS to ${2 * noticing.ms} or more, or check more often`,
    ));
  }
  return findings;
}
