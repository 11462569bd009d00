import { examineCommand } from "./command.ts";
import { type Diagnosis, error, type Finding, warning } from "./finding.ts";
import { readTimes } from "./times.ts";
import type { Variables } from "./variables.ts";

/** The fields that are looked at; everything else may be there too. */
interface Manifest {
  kind?: string;
  /** Of a List: more manifests. */
  items?: unknown[];
  metadata?: { name?: string };
  spec?: {
    replicas?: number;
    strategy?: { type?: string };
    template?: { spec?: PodSpec };
    minReplicas?: number;
    scaleTargetRef?: { name?: string };
  };
}

interface PodSpec {
  terminationGracePeriodSeconds?: number;
  containers?: Container[];
}

interface Container {
  name?: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string }[];
  envFrom?: unknown[];
  ports?: { name?: string; containerPort?: number }[];
  lifecycle?: {
    preStop?: { sleep?: { seconds?: number }; exec?: { command?: string[] } };
  };
  startupProbe?: Probe;
  readinessProbe?: Probe;
  livenessProbe?: Probe;
}

interface Probe {
  httpGet?: { path?: string; port?: string | number };
}

/** Kubernetes' own. */
const DEFAULT_GRACE = 30;
/** How long new connections may go on arriving at a pod that is to go. */
const ENDPOINTS_LAG = 3_000;

export function examineKubernetes(
  documents: unknown[],
  variables: Variables,
): Diagnosis {
  const diagnosis: Diagnosis = { findings: [], servers: [] };
  const manifests = documents.flatMap(manifestsOf);
  const scalers = manifests.filter(({ kind }) =>
    kind === "HorizontalPodAutoscaler"
  );
  const budgets = manifests.filter(({ kind }) =>
    kind === "PodDisruptionBudget"
  );
  for (const manifest of manifests) {
    if (!/^(Deployment|StatefulSet)$/.test(manifest.kind ?? "")) continue;
    const pod = manifest.spec?.template?.spec ?? {};
    const containers = pod.containers ?? [];
    for (const container of containers) {
      if (containers.length > 1 && !isOurs(container)) continue;
      examineContainer(diagnosis, pod, container, variables);
    }
    const name = manifest.metadata?.name ?? "";
    const scaler = scalers.find(({ spec }) =>
      spec?.scaleTargetRef?.name === name
    );
    diagnosis.findings.push(...examineReplicas(manifest, scaler));
    if (budgets.length === 0) {
      diagnosis.findings.push(warning(
        `${name} has no PodDisruptionBudget`,
        "when nodes are drained, all its pods may be taken at once",
        "add one with maxUnavailable: 1",
      ));
    }
  }
  return diagnosis;
}

/** One, or those of a List such as `kubectl get --output yaml` writes. */
function manifestsOf(document: unknown): Manifest[] {
  const one = document as Manifest | null;
  if (/List$/.test(one?.kind ?? "")) {
    return one?.items?.flatMap(manifestsOf) ?? [];
  }
  return one ? [one] : [];
}

/** Not a sidecar: it has our probes, or our settings. */
function isOurs({ readinessProbe, livenessProbe, env = [] }: Container) {
  const paths = [readinessProbe, livenessProbe].map((probe) =>
    probe?.httpGet?.path
  );
  return paths.some((path) => path === "/readyz" || path === "/livez") ||
    env.some(({ name }) => /^(DRAIN|IDLE_GRACE|CLEANUP)_.*MS$/.test(name));
}

function examineContainer(
  { findings, servers }: Diagnosis,
  pod: PodSpec,
  container: Container,
  variables: Variables,
): void {
  const { name = "a container without a name", env = [], envFrom } = container;
  const find = (wanted: string) => env.find((one) => one.name === wanted);
  const read = readTimes(name, {
    value: (wanted) => find(wanted)?.value,
    // Also from a secret; and who knows what a whole one has.
    has: (wanted) => find(wanted) !== undefined || envFrom !== undefined,
  }, variables);
  findings.push(...read.findings);
  const { times } = read;
  const preStop = preStopOf(container);
  const own = pod.terminationGracePeriodSeconds;
  servers.push({
    name,
    times,
    preStop,
    grace: {
      ms: (own ?? DEFAULT_GRACE) * 1000,
      setting: own === undefined
        ? "Kubernetes' default terminationGracePeriodSeconds"
        : "terminationGracePeriodSeconds",
    },
  });

  const stays = preStop + times.drainDelay;
  if (stays < ENDPOINTS_LAG) {
    const say = stays === 0 ? error : warning;
    findings.push(say(
      `${name} goes on accepting for ${stays / 1000} s after it was told to go`,
      "a pod is taken out of its Service at the same moment as it is told, so " +
        "connections arrive for some seconds more, and are refused",
      "give it `lifecycle: { preStop: { sleep: { seconds: 5 } } }`",
    ));
  }
  const { command = [], args = [] } = container;
  findings.push(...examineCommand(name, [...command, ...args]));
  findings.push(...examineProbes(name, container));
  findings.push(...examineAdmin(name, container));
}

function preStopOf({ lifecycle }: Container): number {
  const { sleep, exec } = lifecycle?.preStop ?? {};
  const inShell = /\bsleep (\d+)/.exec(exec?.command?.join(" ") ?? "")?.[1];
  return (sleep?.seconds ?? Number(inShell ?? 0)) * 1000;
}

function examineProbes(
  name: string,
  { readinessProbe, livenessProbe }: Container,
): Finding[] {
  const findings: Finding[] = [];
  if (readinessProbe?.httpGet?.path !== "/readyz") {
    findings.push(error(
      `${name} has no readiness probe of /readyz`,
      "it is given requests before it can answer them",
      "add `readinessProbe: { httpGet: { path: /readyz, port: 3000 } }`",
    ));
  }
  if (livenessProbe?.httpGet?.path === "/readyz") {
    findings.push(error(
      `${name} has /readyz as its liveness probe`,
      "a server that waits for its database is killed for it, again and again",
      "ask for /livez there",
    ));
  }
  return findings;
}

/** Without ADMIN_HOST the admin port is for the pod itself alone. */
function examineAdmin(name: string, container: Container): Finding[] {
  const { env = [], ports = [], ...probes } = container;
  const value = (wanted: string) =>
    env.find((one) => one.name === wanted)?.value;
  const admin = value("ADMIN_PORT");
  if (
    admin === undefined ||
    !/^(127\.|localhost$|$)/.test(value("ADMIN_HOST") ?? "")
  ) return [];
  const { startupProbe, readinessProbe, livenessProbe } = probes;
  const asks = [startupProbe, readinessProbe, livenessProbe].some((probe) => {
    const port = probe?.httpGet?.port;
    const named = ports.find((one) => one.name === port)?.containerPort;
    return port !== undefined && String(named ?? port) === admin;
  });
  if (!asks) return [];
  return [error(
    `${name} has a probe of its admin port, and no ADMIN_HOST`,
    "that port listens on 127.0.0.1, where no probe reaches it, so the pod is " +
      "killed again and again",
    'set ADMIN_HOST to "0.0.0.0"',
  )];
}

function examineReplicas(
  { metadata, spec }: Manifest,
  scaler: Manifest | undefined,
): Finding[] {
  const name = metadata?.name ?? "";
  const findings: Finding[] = [];
  if (spec?.strategy?.type === "Recreate") {
    findings.push(error(
      `${name} has the strategy Recreate`,
      "each deployment ends all pods before the first new one starts",
      "say RollingUpdate, with maxSurge: 1 and maxUnavailable: 0",
    ));
  }
  const least = scaler ? scaler.spec?.minReplicas ?? 1 : spec?.replicas ?? 1;
  if (least < 2) {
    findings.push(warning(
      `${name} may run on a single pod`,
      "while that one is moved to another node, nobody answers",
      scaler ? "set minReplicas: 2" : "set replicas: 2",
    ));
  }
  if (scaler && spec?.replicas !== undefined) {
    findings.push(warning(
      `${name} has both replicas and a HorizontalPodAutoscaler`,
      "each `kubectl apply` sets back what the autoscaler had scaled",
      "remove replicas",
    ));
  }
  return findings;
}
