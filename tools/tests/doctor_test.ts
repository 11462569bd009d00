/**
 * The doctor, on broken copies of files of its own: each fault is found, and nothing
 * else is.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parseAllDocuments, stringify } from "yaml";
import { examineCommand, splitWords } from "../doctor/command.ts";
import { examineEnvironment } from "../doctor/environment.ts";
import { examineFile, examineTogether } from "../doctor/examine.ts";
import { filesOf } from "../doctor/files.ts";
import type { Diagnosis, Finding } from "../doctor/finding.ts";
import { timeSpan } from "../doctor/time_span.ts";
import { variablesOf } from "../doctor/variables.ts";

const variables = variablesOf("# IDLE_GRACE_MS=250\n# DEMO=false\n");

const read = (file: string) =>
  readFileSync(`tools/tests/doctor_files/${file}`, "utf8");

function sound(file: string): Diagnosis {
  const diagnosis = examineFile(`deploy/${file}`, read(file), variables);
  assert(diagnosis);
  return diagnosis;
}

/** A sound file in which `from` has become `to`. */
function broken(
  file: string,
  from: string | RegExp,
  to: string,
): Diagnosis {
  const text = read(file);
  const changed = text.replace(from, to);
  assert(changed !== text, `${file} does not say ${from}`);
  const diagnosis = examineFile(`deploy/${file}`, changed, variables);
  assert(diagnosis);
  return diagnosis;
}

function all(diagnosis: Diagnosis): Finding[] {
  return [...diagnosis.findings, ...examineTogether([diagnosis])];
}

/** What the file is, what is changed in it, and the one thing said to that. */
type Fault = [
  says: string,
  level: Finding["level"],
  file: string,
  from: string | RegExp,
  to: string,
];

const faults: Fault[] = [
  [
    "is killed after 25 s",
    "error",
    "kubernetes.yaml",
    "Seconds: 30",
    "Seconds: 25",
  ],
  [
    "killed after 30 s (Kubernetes' default",
    "error",
    "kubernetes.yaml",
    /terminationGracePeriodSeconds: 30([^]*)seconds: 5 }/,
    "$1seconds: 10 }",
  ],
  [
    "goes on accepting for 0 s",
    "error",
    "kubernetes.yaml",
    "sleep: { seconds: 5 }",
    "sleep: { seconds: 0 }",
  ],
  [
    "goes on accepting for 2 s",
    "warning",
    "kubernetes.yaml",
    "sleep: { seconds: 5 }",
    'exec: { command: ["sh", "-c", "sleep 2"] }',
  ],
  [
    "no readiness probe",
    "error",
    "kubernetes.yaml",
    "path: /readyz",
    "path: /",
  ],
  [
    "/readyz as its liveness probe",
    "error",
    "kubernetes.yaml",
    /(livenessProbe:[^]*?)\/livez/,
    "$1/readyz",
  ],
  [
    "starts npm in front",
    "error",
    "kubernetes.yaml",
    "image: registry.example/lastcall:1.0.0",
    "command: [npm, start]",
  ],
  [
    'DRAIN_TIMEOUT_MS is "10s"',
    "error",
    "kubernetes.yaml",
    "- name: PORT\n",
    '- { name: DRAIN_TIMEOUT_MS, value: "10s" }\n            - name: PORT\n',
  ],
  [
    "strategy Recreate",
    "error",
    "kubernetes.yaml",
    "RollingUpdate",
    "Recreate",
  ],
  [
    "a single pod",
    "warning",
    "kubernetes.yaml",
    "minReplicas: 2",
    "minReplicas: 1",
  ],
  [
    "both replicas and",
    "warning",
    "kubernetes.yaml",
    "revisionHistoryLimit: 5",
    "replicas: 2",
  ],
  [
    "no PodDisruptionBudget",
    "warning",
    "kubernetes.yaml",
    "kind: PodDisruptionBudget",
    "kind: ConfigMap",
  ],

  [
    "killed after 10 s (Compose's default",
    "error",
    "compose.yaml",
    "app2:\n    <<: *app",
    "app2:\n    build: ..",
  ],
  [
    "killed after 21 s (stop_grace_period)",
    "error",
    "compose.yaml",
    "app1:\n    <<: *app",
    "app1:\n    <<: *app\n    stop_grace_period: 21s",
  ],
  [
    "the command of app1 starts npm",
    "error",
    "compose.yaml",
    "app1:\n    <<: *app",
    "app1:\n    <<: *app\n    command: npm start",
  ],
  [
    "the entrypoint of app1 starts a shell",
    "error",
    "compose.yaml",
    "app1:\n    <<: *app",
    'app1:\n    <<: *app\n    entrypoint: ["sh", "-c", "node dist/main.js"]',
  ],
  [
    "stop_signal of app2 is SIGKILL",
    "error",
    "compose.yaml",
    "app2:\n    <<: *app",
    "app2:\n    <<: *app\n    stop_signal: SIGKILL",
  ],
  [
    "app1 has replicas",
    "warning",
    "compose.yaml",
    "app1:\n    <<: *app",
    "app1:\n    <<: *app\n    deploy: { replicas: 2 }",
  ],
  [
    "after 5000 of them the rest is cut",
    "warning",
    "compose.yaml",
    "app1:\n    <<: *app",
    "app1:\n    <<: *app\n    environment: { DRAIN_TIMEOUT_MS: 500 }",
  ],
  [
    "IDLE_GRACE_MS is 0",
    "warning",
    "compose.yaml",
    "app1:\n    <<: *app",
    "app1:\n    <<: *app\n    environment: [IDLE_GRACE_MS=0, DRAIN_DELAY_MS]",
  ],
  [
    "app1 has TLS_CERT",
    "error",
    "compose.yaml",
    "app1:\n    <<: *app",
    "app1:\n    <<: *app\n    environment: { TLS_CERT: cert, TLS_KEY: key }",
  ],

  [
    "killed after 15 s (TimeoutStopSec)",
    "error",
    "lastcall@.service",
    "TimeoutStopSec=22",
    "TimeoutStopSec=15s",
  ],
  [
    "killed after 90 s (systemd's default",
    "error",
    "lastcall@.service",
    /TimeoutStopSec=22\n/,
    "Environment=DRAIN_TIMEOUT_MS=80000\n",
  ],
  [
    "ExecStart starts npm",
    "error",
    "lastcall@.service",
    "ExecStart=/usr/bin/node --disable-sigusr1 dist/main.js",
    "ExecStart=/usr/bin/npm start",
  ],
  [
    "ExecStart starts `deno task`",
    "warning",
    "lastcall@.service",
    "ExecStart=/usr/bin/node --disable-sigusr1 dist/main.js",
    "ExecStart=/usr/bin/deno task start",
  ],
  ["Type is notify", "error", "lastcall@.service", "Type=exec", "Type=notify"],
  [
    "nothing waits until the server is ready",
    "warning",
    "lastcall@.service",
    "ExecStartPost=/usr/bin/node deploy/ready.js\n",
    "",
  ],
  [
    "for five times in ten seconds only",
    "warning",
    "lastcall@.service",
    "StartLimitIntervalSec=0\n",
    "",
  ],
  [
    "KillSignal is SIGQUIT",
    "error",
    "lastcall@.service",
    "KillMode=mixed",
    "KillSignal=SIGQUIT",
  ],
  [
    "also when the configuration is wrong",
    "warning",
    "lastcall@.service",
    "RestartPreventExitStatus=78",
    "",
  ],
  [
    "MemoryDenyWriteExecute is on",
    "error",
    "lastcall@.service",
    "UMask=0077",
    "MemoryDenyWriteExecute=yes",
  ],

  [
    "checks with HTTP/1.0",
    "error",
    "haproxy.cfg",
    /option httpchk\n.*http-check send.*\n/,
    "option httpchk GET /readyz\n",
  ],
  [
    "does not check /readyz",
    "error",
    "haproxy.cfg",
    "uri /readyz",
    "uri /",
  ],
  [
    "only checks that a connection",
    "error",
    "haproxy.cfg",
    /option httpchk\n/,
    "",
  ],
  [
    "nobody checks the server app2",
    "error",
    "haproxy.cfg",
    /default-server check ([^]*)(server app1 \S+)/,
    "default-server $1$2 check",
  ],
  [
    "sends again after empty-response, 503",
    "error",
    "haproxy.cfg",
    "retry-on conn-failure",
    "retry-on conn-failure empty-response 503",
  ],
  [
    "http-reuse always",
    "warning",
    "haproxy.cfg",
    "retries 3",
    "http-reuse always",
  ],
  ["no timeout tunnel", "warning", "haproxy.cfg", /timeout tunnel 1h/, ""],
  [
    "keeps connections for 90 s (3 x pool-purge-delay), and the server for 75 s",
    "error",
    "haproxy.cfg",
    "default-server check",
    "default-server pool-purge-delay 30s check",
  ],
  [
    "keeps connections for 80 s (timeout http-keep-alive)",
    "error",
    "haproxy.cfg",
    "timeout http-keep-alive 60s",
    "timeout http-keep-alive 80s\n    http-reuse never",
  ],

  [
    "a probe of its admin port, and no ADMIN_HOST",
    "error",
    "kubernetes.yaml",
    /- name: ADMIN_HOST\n\s*value: "0.0.0.0"/,
    "",
  ],
  [
    "DEMO is true",
    "warning",
    "kubernetes.yaml",
    "- name: ADMIN_PORT",
    '- { name: DEMO, value: "true" }\n            - name: ADMIN_PORT',
  ],
  [
    "has nothing left",
    "error",
    "nginx.conf",
    /.*max_fails=0 backup;\n/g,
    "",
  ],
  [
    "non_idempotent",
    "error",
    "nginx.conf",
    /proxy_next_upstream error timeout;/,
    "proxy_next_upstream error timeout non_idempotent;",
  ],
  ["nobody asks", "warning", "nginx.conf", /mirror \/.readyz;/, ""],
  ["nobody asks", "warning", "nginx.conf", " http_503;", ";"],
  [
    "keeps connections for 75 s, and the server for 75 s",
    "error",
    "nginx.conf",
    "keepalive_timeout 60s",
    "keepalive_timeout 75",
  ],
  [
    "not kept after all",
    "warning",
    "nginx.conf",
    /proxy_http_version 1.1;/g,
    "",
  ],
  [
    "no Upgrade header",
    "warning",
    "nginx.conf",
    "_header Upgrade",
    "_header X",
  ],

  [
    "CMD is in shell form",
    "error",
    "Containerfile.node",
    'CMD ["node", "--disable-sigusr1", "dist/main.js"]',
    "CMD node dist/main.js",
  ],
  [
    "CMD starts npm",
    "error",
    "Containerfile.node",
    'CMD ["node", "--disable-sigusr1", "dist/main.js"]',
    'CMD ["npm", "start"]',
  ],
  [
    "CMD starts npm",
    "error",
    "Containerfile.node",
    'CMD ["node", "--disable-sigusr1", "dist/main.js"]',
    'CMD ["tini", "--", "npm", "start"]',
  ],
  [
    "the image has TLS_CERT",
    "error",
    "Containerfile.node",
    "ENV NODE_ENV=production",
    "ENV NODE_ENV=production TLS_CERT=tls/cert.pem",
  ],
  [
    "CMD starts `bun run`",
    "warning",
    "Containerfile.bun",
    'CMD ["bun", "src/main.ts"]',
    'CMD ["bun", "run", "start"]',
  ],
  [
    "STOPSIGNAL is SIGKILL",
    "error",
    "Containerfile.deno",
    "SIGTERM",
    "SIGKILL",
  ],
  ["runs as root", "warning", "Containerfile.bun", "USER 65532", "USER root"],
  ["runs as whoever", "warning", "Containerfile.bun", "USER 65532\n", ""],
];

describe("the doctor finds in", () => {
  for (const [says, level, file, from, to] of faults) {
    test(`${file}: ${says}`, () => {
      const found = all(broken(file, from, to));
      assertEquals(found.map((one) => one.level), [level]);
      const [{ what, why, todo } = { what: "", why: "", todo: "" }] = found;
      assertStringIncludes(`${what}; ${why}`, says);
      assert(todo.length > 0);
    });
  }
});

describe("the doctor", () => {
  test("compares the drain delay with what the balancer needs", () => {
    const slow = broken("haproxy.cfg", "inter 200ms fall 2", "inter 1s");
    assertEquals(slow.noticing?.ms, 3000);
    const found = examineTogether([slow, sound("compose.yaml")]);
    assertEquals(found.map(({ level }) => level), ["error", "error"]);
    assertStringIncludes(
      found[0]?.what ?? "",
      "app1 leaves 1000 ms after /readyz turned red, and the balancer takes " +
        "3000 ms to notice (fall 3 x inter 1000 ms)",
    );
    const fast = examineTogether([
      sound("haproxy.cfg"),
      sound("compose.yaml"),
    ]);
    assertEquals(fast, []);
  });

  test("leaves sidecars and databases alone", () => {
    const sidecar = broken(
      "kubernetes.yaml",
      "      containers:\n",
      "      containers:\n        - { name: proxy, image: proxy, command: [npm] }\n",
    );
    assertEquals(all(sidecar), []);
    assertEquals(sidecar.servers.map(({ name }) => name), ["lastcall"]);
    const names = sound("compose.yaml").servers.map(({ name }) => name);
    assertEquals(names, ["app1", "app2"]);
  });

  test("knows a built service by its settings, or by what it is built from", () => {
    const known = (service: string, path = "deploy/compose.yaml") => {
      const found = examineFile(
        path,
        `services: { one: ${service} }`,
        variables,
      );
      const level = found?.findings.map(({ level }) => level);
      if (found?.servers.length === 0) assertEquals(level, ["warning"]);
      return found?.servers.length === 1;
    };
    assert(known("{ build: .. }"));
    assert(known("{ build: . }", "compose.yaml"));
    assert(
      known("{ build: { context: ., dockerfile: app/Containerfile.deno } }"),
    );
    assert(known("{ build: ./app, environment: { DRAIN_DELAY_MS: 0 } }"));
    assert(!known("{ build: ./database }"));
    assert(!known("{ build: { context: .., dockerfile: db/Dockerfile } }"));
    const database = broken(
      "compose.yaml",
      "haproxy:\n",
      "haproxy:\n    build: ./db\n",
    );
    assertEquals(all(database), []);
    assertEquals(database.servers.map(({ name }) => name), ["app1", "app2"]);
  });

  test("asks for ADMIN_PORT only where the health check needs it", () => {
    const found = (more: string) =>
      all(broken(
        "compose.yaml",
        "app1:\n    <<: *app",
        `app1:\n    <<: *app\n    environment: { TLS_CERT: cert, TLS_KEY: key, ${more}`,
      ));
    assertEquals(found("ADMIN_PORT: 9090 }"), []);
    assertEquals(found("ADMIN_PORT: }"), []);
    assertEquals(found("}\n    healthcheck: { disable: true }"), []);
    assertEquals(found("}\n    healthcheck: { test: [CMD, mine] }"), []);
    const own = "}\n    healthcheck: { test: [CMD, node, deploy/alive.js] }";
    assertEquals(found(own).map(({ level }) => level), ["error"]);
  });

  test("reads a List as the manifests that it has", () => {
    const list = (text: string) => {
      const items = parseAllDocuments(text).map((one) => one.toJS());
      const inner = { apiVersion: "v1", kind: "List", items };
      const outer = { apiVersion: "v1", kind: "List", items: [inner] };
      const diagnosis = examineFile("app.yaml", stringify(outer), variables);
      assert(diagnosis);
      return diagnosis;
    };
    const text = readFileSync(
      "tools/tests/doctor_files/kubernetes.yaml",
      "utf8",
    );
    assertEquals(list(text), sound("kubernetes.yaml"));
    const [found, ...more] = all(
      list(text.replace("Seconds: 30", "Seconds: 25")),
    );
    assertStringIncludes(found?.what ?? "", "is killed after 25 s");
    assertEquals(more, []);
  });

  test("takes 0 for no limit, as systemd does", () => {
    const unit = broken(
      "lastcall@.service",
      "TimeoutStopSec=22",
      "TimeoutStopSec=0",
    );
    assertEquals(unit.servers.map(({ grace }) => grace?.ms), [Infinity]);
    assertEquals(all(unit), []);
  });

  test("looks past what hands the signal on", () => {
    const found = (line: string) =>
      examineCommand("it", splitWords(line)).map(({ what }) => what);
    const npm = ["it starts npm in front of the server"];
    assertEquals(found("tini -- npm start"), npm);
    assertEquals(found("/usr/bin/tini -g -p SIGTERM npm start"), npm);
    assertEquals(found("dumb-init --rewrite 15:2 npm start"), npm);
    assertEquals(found("env -u HOME NODE_ENV=production npm start"), npm);
    assertEquals(found("exec env tini npm start"), npm);
    assertEquals(found("sh -c 'cd /app && exec npm start'"), npm);
    assertEquals(found("tini -- sh -c 'node dist/main.js'"), [
      "it starts a shell in front of the server",
    ]);
    assertEquals(found("tini -- node dist/main.js"), []);
    assertEquals(found("env PORT=80 bun src/main.ts"), []);
    assertEquals(found("tini"), []);
  });

  test("reads the files in deploy/, and leaves its folders alone", () => {
    const folder = mkdtempSync(join(tmpdir(), "lastcall-doctor-"));
    try {
      assertEquals(filesOf(folder), []);
      mkdirSync(join(folder, "deploy/overlays"), { recursive: true });
      mkdirSync(join(folder, "compose.yaml"));
      symlinkSync("nowhere", join(folder, "deploy/gone.yaml"));
      writeFileSync(join(folder, "deploy/app.yaml"), "");
      writeFileSync(join(folder, "Dockerfile"), "");
      writeFileSync(join(folder, "README.md"), "");
      assertEquals(filesOf(folder), ["Dockerfile", "deploy/app.yaml"]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("names what is wrong with a file that nobody can read", () => {
    const found = examineFile(
      "app.yaml",
      "kind: Deployment\n  spec: 1\n",
      variables,
    );
    assertEquals(found?.findings.map(({ level }) => level), ["error"]);
  });

  test("knows nothing of files that deploy no server", () => {
    assertEquals(
      examineFile("values.yaml", "colour: red\n", variables),
      undefined,
    );
    assertEquals(
      examineFile("my.conf", "colour = red\n", variables),
      undefined,
    );
    assertEquals(examineFile("README.md", "npm start\n", variables), undefined);
  });

  test("looks at the environment as the server would", () => {
    const env = new Map([["DRAIN_DELAY_MS", "soon"]]);
    const { findings } = examineEnvironment(
      (name) => env.get(name),
      [],
      variables,
    );
    assertEquals(findings.length, 1);
    assertStringIncludes(findings[0]?.what ?? "", 'DRAIN_DELAY_MS is "soon"');
  });

  test("sees a shell or npm as process 1, and no harm in an init", () => {
    const found = (...command: string[]) =>
      examineEnvironment(() => undefined, command, variables).findings
        .map(({ what }) => what);
    assertEquals(found("/sbin/init"), []);
    assertEquals(found("node", "dist/main.js"), []);
    assertEquals(found("/bin/sh", "-c", "exec node dist/main.js"), []);
    assertEquals(found("/bin/sh", "-c", "node dist/main.js"), [
      "process 1 of this container starts a shell in front of the server",
    ]);
    assertEquals(found("npm", "start"), [
      "process 1 of this container starts npm in front of the server",
    ]);
  });

  test("warns of an open debugger", () => {
    const { findings } = examineEnvironment(
      (name) => name === "NODE_OPTIONS" ? "--inspect=0.0.0.0" : undefined,
      [],
      variables,
    );
    assertEquals(findings.map(({ level }) => level), ["error"]);
  });
});

describe("a required variable", () => {
  const required = variablesOf(
    "TOKEN=\n# DRAIN_DELAY_MS=100\r\nURL=http://x\n",
  );
  const found = (file: string, text: string) =>
    examineFile(file, text, required)?.findings.map(({ what }) => what)
      .filter((what) => what.includes("is not given"));

  test("is what .env.example does not comment out", () => {
    assertEquals(required.required, ["TOKEN", "URL"]);
    assertEquals(required.defaults.get("DRAIN_DELAY_MS"), "100");
  });

  const service = (more: string) =>
    `services: { app: { environment: { DRAIN_DELAY_MS: 0${more} } }`;
  test("is to be given in Compose, or may be in an env_file", () => {
    assertEquals(found("compose.yaml", `${service("")} }`), [
      "app is not given TOKEN",
      "app is not given URL",
    ]);
    const all = service(', TOKEN: "${TOKEN}", URL: "http://x"');
    assertEquals(found("compose.yaml", `${all} }`), []);
    const file = service("").replace(
      "environment",
      "env_file: app.env, environment",
    );
    assertEquals(found("compose.yaml", `${file} }`), []);
  });

  test("is to be given in Kubernetes, if only by a secretKeyRef", () => {
    const pod = (more: string) =>
      "{ apiVersion: apps/v1, kind: Deployment, spec: { template: { spec: " +
      `{ containers: [{ name: app, ${more} }] } } } }`;
    assertEquals(found("app.yaml", pod("env: []")), [
      "app is not given TOKEN",
      "app is not given URL",
    ]);
    const secret =
      "{ name: TOKEN, valueFrom: { secretKeyRef: { name: app, key: token } } }";
    assertEquals(
      found(
        "app.yaml",
        pod(`env: [${secret}, { name: URL, value: "http://x" }]`),
      ),
      [],
    );
    const whole = "envFrom: [{ secretRef: { name: app } }]";
    assertEquals(found("app.yaml", pod(whole)), []);
  });

  test("is to be given in a unit, or may be in its EnvironmentFile", () => {
    const unit = "[Service]\nExecStart=/usr/bin/node main.js\n";
    assertEquals(found("app.service", unit), [
      "app.service is not given TOKEN",
      "app.service is not given URL",
    ]);
    const file = `${unit}EnvironmentFile=/etc/app.env\n`;
    assertEquals(found("app.service", file), []);
  });

  test("is none of the environment's that the doctor runs in", () => {
    const { findings } = examineEnvironment(() => undefined, [], required);
    assertEquals(findings, []);
  });
});

test("times are read as each tool writes them", () => {
  assertEquals(timeSpan("22"), 22_000);
  assertEquals(timeSpan("1m30s"), 90_000);
  assertEquals(timeSpan("1min 30s"), 90_000);
  assertEquals(timeSpan("200", "ms"), 200);
  assertEquals(timeSpan("1.5s"), 1500);
  assertEquals(timeSpan("infinity"), Infinity);
});
