/**
 * No cluster here, and no kubeconform: the manifests are held to the fields of the
 * API that they use, and to each other.
 */
import { assert, assertEquals } from "@std/assert";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { parseAllDocuments } from "yaml";
import { health, ShutdownController } from "#lastcall";

// deno-lint-ignore no-explicit-any
type Any = any;

const documents = parseAllDocuments(
  readFileSync("deploy/kubernetes.yaml", "utf8"),
);
const manifests: Any[] = documents.map((document) => document.toJS());
const byKind = new Map(manifests.map((one) => [one.kind, one]));
const deployment = byKind.get("Deployment");
const pod = deployment.spec.template;
const [container] = pod.spec.containers;

/** The type of a field, or what its fields are; `?` means that it may be absent. */
type Shape = string | [Shape] | { [field: string]: Shape };

const METADATA: Shape = { name: "string", labels: "strings" };
const LABELS: Shape = { matchLabels: "strings" };
const PROBE: Shape = {
  httpGet: { path: "string", port: "string" },
  "periodSeconds?": "number",
  "timeoutSeconds?": "number",
  "failureThreshold?": "number",
};

/** As the API reference of Kubernetes 1.34 documents them. */
const SHAPES: Record<string, Shape> = {
  "apps/v1 Deployment": {
    apiVersion: "string",
    kind: "string",
    metadata: METADATA,
    spec: {
      "replicas?": "number",
      revisionHistoryLimit: "number",
      strategy: {
        type: "string",
        rollingUpdate: { maxSurge: "number", maxUnavailable: "number" },
      },
      selector: LABELS,
      template: {
        metadata: { labels: "strings" },
        spec: {
          terminationGracePeriodSeconds: "number",
          automountServiceAccountToken: "boolean",
          securityContext: {
            runAsNonRoot: "boolean",
            runAsUser: "number",
            runAsGroup: "number",
            fsGroup: "number",
            seccompProfile: { type: "string" },
          },
          topologySpreadConstraints: [{
            maxSkew: "number",
            topologyKey: "string",
            whenUnsatisfiable: "string",
            labelSelector: LABELS,
          }],
          containers: [{
            name: "string",
            image: "string",
            ports: [{ name: "string", containerPort: "number" }],
            env: [{
              name: "string",
              "value?": "string",
              "valueFrom?": { secretKeyRef: { name: "string", key: "string" } },
            }],
            lifecycle: { preStop: { sleep: { seconds: "number" } } },
            startupProbe: PROBE,
            readinessProbe: PROBE,
            livenessProbe: PROBE,
            resources: { requests: "strings", limits: "strings" },
            securityContext: {
              allowPrivilegeEscalation: "boolean",
              readOnlyRootFilesystem: "boolean",
              capabilities: { drop: ["string"] },
            },
            volumeMounts: [{ name: "string", mountPath: "string" }],
          }],
          volumes: [{ name: "string", emptyDir: { sizeLimit: "string" } }],
        },
      },
    },
  },
  "v1 Service": {
    apiVersion: "string",
    kind: "string",
    metadata: METADATA,
    spec: {
      selector: "strings",
      ports: [{ name: "string", port: "number", targetPort: "string" }],
    },
  },
  "policy/v1 PodDisruptionBudget": {
    apiVersion: "string",
    kind: "string",
    metadata: METADATA,
    spec: { maxUnavailable: "number", selector: LABELS },
  },
  "autoscaling/v2 HorizontalPodAutoscaler": {
    apiVersion: "string",
    kind: "string",
    metadata: METADATA,
    spec: {
      scaleTargetRef: { apiVersion: "string", kind: "string", name: "string" },
      minReplicas: "number",
      maxReplicas: "number",
      metrics: [{
        type: "string",
        resource: {
          name: "string",
          target: { type: "string", averageUtilization: "number" },
        },
      }],
    },
  },
};

/** What does not fit, each with its path. */
function misfits(value: Any, shape: Shape, path: string): string[] {
  if (shape === "strings") {
    const fit = value &&
      Object.values(value).every((one) => typeof one === "string");
    return fit ? [] : [`${path} should map names to strings`];
  }
  if (typeof shape === "string") {
    const type: string = typeof value;
    return type === shape ? [] : [`${path} should be a ${shape}`];
  }
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return [`${path} should be a list`];
    return value.flatMap((one, i) => misfits(one, shape[0], `${path}[${i}]`));
  }
  if (typeof value !== "object" || value === null) {
    return [`${path} should have fields`];
  }
  const fields = Object.entries(shape).map(([name, inner]) => ({
    name: name.replace("?", ""),
    inner,
    optional: name.endsWith("?"),
  }));
  const unknown = Object.keys(value)
    .filter((name) => !fields.some((field) => field.name === name))
    .map((name) => `${path}.${name} is not known`);
  return [
    ...unknown,
    ...fields.flatMap(({ name, inner, optional }) =>
      optional && value[name] === undefined
        ? []
        : misfits(value[name], inner, `${path}.${name}`)
    ),
  ];
}

describe("kubernetes.yaml", () => {
  test("can be read, without a warning", () => {
    for (const { errors, warnings } of documents) {
      assertEquals([...errors, ...warnings], []);
    }
  });

  test("has the fields that the API documents, and no others", () => {
    assertEquals(
      manifests.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`),
      Object.keys(SHAPES),
    );
    for (const manifest of manifests) {
      const shape = SHAPES[`${manifest.apiVersion} ${manifest.kind}`];
      assert(shape);
      assertEquals(misfits(manifest, shape, manifest.kind), []);
    }
  });

  test("would not pass with a field that is misspelt, or of another type", () => {
    const changed = structuredClone(deployment);
    const [inner] = changed.spec.template.spec.containers;
    inner.lifecycle.preStop.sleep = { second: 5 };
    inner.env[0].value = 3000;
    const at = "Deployment.spec.template.spec.containers[0]";
    const shape = SHAPES["apps/v1 Deployment"];
    assert(shape);
    assertEquals(misfits(changed, shape, "Deployment"), [
      `${at}.env[0].value should be a string`,
      `${at}.lifecycle.preStop.sleep.second is not known`,
      `${at}.lifecycle.preStop.sleep.seconds should be a number`,
    ]);
  });

  test("has one set of labels, by which everything finds the pods", () => {
    const { labels } = pod.metadata;
    assertEquals(deployment.spec.selector.matchLabels, labels);
    assertEquals(byKind.get("Service").spec.selector, labels);
    assertEquals(
      byKind.get("PodDisruptionBudget").spec.selector.matchLabels,
      labels,
    );
    for (const { labelSelector } of pod.spec.topologySpreadConstraints) {
      assertEquals(labelSelector.matchLabels, labels);
    }
    const scaler = byKind.get("HorizontalPodAutoscaler");
    const { apiVersion, kind, metadata: { name } } = deployment;
    assertEquals(scaler.spec.scaleTargetRef, { apiVersion, kind, name });
  });

  test("keeps two pods or more, and never takes one away before its time", () => {
    assert(byKind.get("HorizontalPodAutoscaler").spec.minReplicas >= 2);
    assertEquals(byKind.get("PodDisruptionBudget").spec.maxUnavailable, 1);
    assertEquals(deployment.spec.strategy.rollingUpdate, {
      maxSurge: 1,
      maxUnavailable: 0,
    });
  });

  test("asks for paths that the server answers, on ports that it has", async () => {
    const env = new Map(
      container.env.map((one: Any) => [one.name, one.value]),
    );
    const ports = new Map(
      container.ports.map((one: Any) => [one.name, String(one.containerPort)]),
    );
    assertEquals(ports.get("http"), env.get("PORT"));
    assertEquals(ports.get("admin"), env.get("ADMIN_PORT"));
    // The admin port is nobody's business.
    assertEquals(
      byKind.get("Service").spec.ports.map(({ targetPort }: Any) => targetPort),
      ["http"],
    );

    const app = health(new ShutdownController({ log() {} }));
    for (const name of ["startupProbe", "readinessProbe", "livenessProbe"]) {
      const { path, port } = container[name].httpGet;
      assert(ports.has(port), `${name}: ${port}`);
      const { status } = await app.request(path);
      assert(status === 200 || status === 503, `${name}: ${path}: ${status}`);
    }
    assertEquals(container.livenessProbe.httpGet.path, "/livez");
    assertEquals(container.readinessProbe.httpGet.path, "/readyz");
  });

  test("runs as the user that the images have, and as nobody more", () => {
    // "nonroot" of the distroless images.
    assertEquals(pod.spec.securityContext.runAsUser, 65532);
    assertEquals(pod.spec.securityContext.runAsNonRoot, true);
    assertEquals(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    assertEquals(
      container.volumeMounts.map(({ name }: Any) => name),
      pod.spec.volumes.map(({ name }: Any) => name),
    );
  });
});
