import { assert, assertEquals } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { budgetOf } from "../../tools/doctor/budget.ts";
import { examineFile, examineTogether } from "../../tools/doctor/examine.ts";
import { readVariables } from "../../tools/doctor/variables.ts";
import { readConfig } from "../../src/config.ts";

const variables = readVariables(".env.example");
const read = (file: string) => readFileSync(`deploy/${file}`, "utf8");

function examine(file: string) {
  const diagnosis = examineFile(file, read(file), variables);
  assert(diagnosis, `nobody knows what ${file} is`);
  return diagnosis;
}

test("the sum of the times is what the defaults make it", () => {
  const defaults = readConfig(() => undefined);
  assert(defaults.ok);
  const { drainDelay, idleGrace, drainTimeout, cleanupTimeout } =
    defaults.config;
  const server = { name: "app", preStop: 3000, times: defaults.config };
  assertEquals(
    budgetOf(server).needed,
    3000 + drainDelay + idleGrace + drainTimeout + cleanupTimeout + 5000,
  );
});

for (
  const [file, servers] of [
    ["compose.yaml", 2],
    ["kubernetes.yaml", 1],
    ["lastcall@.service", 1],
  ] as const
) {
  test(`${file} gives each server the time that leaving may take`, () => {
    const found = examine(file).servers;
    assertEquals(found.length, servers);
    for (const server of found) {
      const { needed, sum } = budgetOf(server);
      assert(server.grace, `${server.name} has no grace period`);
      assert(server.grace.ms >= needed, `${server.name}: ${sum}`);
      // The deadlines are there to be met by others too: nobody waits for long.
      assert(server.grace.ms < 2 * needed, `${server.name}: ${sum}`);
    }
  });
}

test("the doctor has nothing to say against what we ship", () => {
  const files = readdirSync("deploy").sort();
  const known = files.filter((file) =>
    examineFile(file, read(file), variables)
  );
  assertEquals(known, [
    "Containerfile.bun",
    "Containerfile.deno",
    "Containerfile.node",
    "compose.yaml",
    "haproxy.cfg",
    "kubernetes.yaml",
    "lastcall@.service",
    "nginx.conf",
  ]);
  const all = known.map(examine);
  assertEquals(all.flatMap(({ findings }) => findings), []);
  assertEquals(examineTogether(all), []);
});

test("HAProxy turns away in less than half of the drain delay", () => {
  const { noticing } = examine("haproxy.cfg");
  assertEquals(noticing, { ms: 400, how: "fall 2 x inter 200 ms" });
  for (const file of ["compose.yaml", "lastcall@.service"]) {
    for (const { times } of examine(file).servers) {
      assert(times.drainDelay > 2 * 400, `${file}: ${times.drainDelay} ms`);
    }
  }
});

test("the sums in the docs add up, and those of shipped files are theirs", () => {
  const needed = (file: string) => {
    const [server] = examine(file).servers;
    assert(server);
    return budgetOf(server).needed / 1000;
  };
  const pages: [page: string, seconds: number][] = [
    ["README.md", needed("kubernetes.yaml") - 5],
    ["kubernetes.md", needed("kubernetes.yaml")],
    ["docker.md", needed("compose.yaml")],
    ["haproxy.md", needed("compose.yaml")],
    ["nginx.md", needed("compose.yaml")],
    ["systemd.md", needed("lastcall@.service")],
    // From the signal, with what the page itself asks for.
    ["platforms.md", needed("kubernetes.yaml") - 5],
    ["alb.md", needed("kubernetes.yaml") - 5 + 20],
    ["overlap.md", needed("kubernetes.yaml") - 5],
  ];
  for (const [page, seconds] of pages) {
    const text = readFileSync(`docs/deploy/${page}`, "utf8");
    const sum =
      /([\d.]+(?: \([^)]*\))?(?: \+ [\d.]+(?: \([^)]*\))?){3,}) = ([\d.]+) s/;
    const [, terms = "", total] = sum.exec(text) ?? [];
    const added = terms.replaceAll(/\([^)]*\)/g, "").split("+").map(Number)
      .reduce((sum, term) => sum + term, 0);
    assertEquals(added, Number(total), `${page}: ${terms}`);
    assertEquals(added, seconds, page);
  }
});
