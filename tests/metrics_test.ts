import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { createAdmin } from "../src/kit/admin.ts";
import { Metrics } from "../src/kit/metrics.ts";
import { setup } from "./app_setup.ts";

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads the text format by its grammar; whatever does not fit is an error. */
function parse(
  text: string,
): { samples: Sample[]; types: Map<string, string> } {
  assert(text.endsWith("\n"), "the last line ends too");
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  for (const line of text.slice(0, -1).split("\n")) {
    const type = /^# TYPE ([a-z_]+) (counter|gauge|histogram)$/.exec(line);
    if (type) {
      assert(!types.has(type[1]!), `${type[1]} has two types`);
      types.set(type[1]!, type[2]!);
      continue;
    }
    if (/^# HELP [a-z_]+ [^\\]+$/.test(line)) continue;
    const sample = /^([a-z_]+)(?:\{(.*)\})? (-?\d+(?:\.\d+)?(?:e-?\d+)?)$/.exec(
      line,
    );
    if (!sample) throw new Error(`not a sample: ${line}`);
    const [, name, text = "", value] = sample;
    const labels: Record<string, string> = {};
    const pair = /([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/gy;
    let end = 0;
    for (const [all, label, escaped] of text.matchAll(pair)) {
      labels[label!] = escaped!.replace(
        /\\(.)/g,
        (_, c) => c === "n" ? "\n" : c,
      );
      end += all.length;
    }
    assertEquals(end, text.length, `labels of ${line}`);
    const family = name!.replace(/_(bucket|sum|count)$/, "");
    assert(
      types.has(name!) || types.get(family) === "histogram",
      `type of ${name}`,
    );
    samples.push({ name: name!, labels, value: Number(value) });
  }
  return { samples, types };
}

const answered = {
  method: "GET",
  route: "/",
  status: 200,
  ms: 3,
};

test("the parser of this test refuses what is wrong", () => {
  for (const wrong of ['a{b="c} 1', 'a{b="c"x="d"} 1', "a 1"]) {
    assertThrows(() => parse(`# TYPE b counter\n${wrong}\n`));
  }
});

describe("metrics", () => {
  test("count requests by method, route and status", () => {
    const metrics = new Metrics();
    metrics.count(answered);
    metrics.count(answered);
    metrics.count({ ...answered, status: 503 });
    metrics.count({ ...answered, method: "POST" });
    metrics.count({ ...answered, route: undefined, status: 404 });
    const { samples } = parse(metrics.render([]));
    assertEquals(
      samples.filter(({ name }) => name === "http_requests_total")
        .map((
          { labels: { method, route, status }, value },
        ) => [method, route, status, value]),
      [
        ["GET", "/", "200", 2],
        ["GET", "/", "503", 1],
        ["POST", "/", "200", 1],
        ["GET", "", "404", 1],
      ],
    );
  });

  test("sort durations into buckets that include the smaller ones", () => {
    const metrics = new Metrics();
    for (const ms of [0, 5, 5.01, 700, 60_000]) {
      metrics.count({ ...answered, ms });
    }
    const { samples } = parse(metrics.render([]));
    const of = (name: string) =>
      samples.filter((s) => s.name === `http_request_duration_seconds_${name}`);
    const buckets = of("bucket").map(({ labels, value }) => [labels.le, value]);
    assertEquals(buckets, [
      ["0.005", 2],
      ["0.01", 3],
      ["0.025", 3],
      ["0.05", 3],
      ["0.1", 3],
      ["0.25", 3],
      ["0.5", 3],
      ["1", 4],
      ["2.5", 4],
      ["5", 4],
      ["10", 4],
      ["+Inf", 5],
    ]);
    assertEquals(of("count").map(({ value }) => value), [5]);
    assertEquals(of("sum")[0]!.value.toFixed(5), "60.71001");
  });

  test("escape what a route may contain", () => {
    const metrics = new Metrics();
    const route = '/a"b\\c\n:d{[^"\\\\]+}';
    metrics.count({ ...answered, route });
    for (const { labels } of parse(metrics.render([])).samples) {
      assertEquals(labels.route, route);
    }
  });

  test("do not grow with methods that clients invent", () => {
    const metrics = new Metrics();
    for (let i = 0; i < 1000; i++) {
      metrics.count({ ...answered, method: `M${i}` });
    }
    const { samples } = parse(metrics.render([]));
    const [total, ...more] = samples.filter((s) =>
      s.name === "http_requests_total"
    );
    assertEquals(more, []);
    assertEquals([total?.labels.method, total?.value], ["OTHER", 1000]);
  });
});

describe("metrics of one's own", () => {
  const samplesOf = (metrics: Metrics) => parse(metrics.render([])).samples;

  test("count, say how things stand, and how they are distributed", () => {
    const metrics = new Metrics();
    const orders = metrics.counter("orders_total", "Orders.", ["kind"]);
    orders.add(1, { kind: "card" });
    orders.add(2.5, { kind: "card" });
    orders.add(1, { kind: 'a "b"\n\\' });
    const queue = metrics.gauge("queue_length", "Jobs that wait.");
    queue.set(7);
    queue.set(-3);
    const query = metrics.histogram("query_seconds", "Queries.", [], [1, 0.1]);
    for (const seconds of [0.1, 0.5, 2]) query.observe(seconds);
    assertEquals(
      samplesOf(metrics).map(({ name, labels, value }) => [
        name,
        ...Object.values(labels),
        value,
      ]),
      [
        ["orders_total", "card", 3.5],
        ["orders_total", 'a "b"\n\\', 1],
        ["queue_length", -3],
        ["query_seconds_bucket", "0.1", 1],
        ["query_seconds_bucket", "1", 2],
        ["query_seconds_bucket", "+Inf", 3],
        ["query_seconds_sum", 2.6],
        ["query_seconds_count", 3],
      ],
    );
  });

  test("do not grow with what clients invent", () => {
    const metrics = new Metrics();
    const searches = metrics.counter("searches_total", "Searches.", ["word"]);
    for (let i = 0; i < 5000; i++) searches.add(1, { word: `w${i}` });
    searches.add(1, { word: "w7" });
    const samples = samplesOf(metrics);
    assertEquals(samples.length, 1001);
    const of = (word: string) =>
      samples.find(({ labels }) => labels.word === word)?.value;
    assertEquals([of("w7"), of("other")], [2, 4000]);
  });

  test("have names that Prometheus takes, each once", () => {
    const metrics = new Metrics();
    metrics.counter("mine_total", "Mine.");
    for (
      const wrong of [
        () => metrics.counter("9_total", ""),
        () => metrics.counter("a-b", ""),
        () => metrics.counter("a_total", "", ["le"]),
        () => metrics.counter("a_total", "", ["__a"]),
        () => metrics.gauge("mine_total", ""),
        () => metrics.counter("http_requests_total", ""),
        () => metrics.counter("b_total", "").add(-1),
        () => metrics.counter("c_total", "").add(NaN),
      ]
    ) assertThrows(wrong);
  });
});

describe("the admin app", () => {
  function admin(eventLoopDelay: () => number | undefined = () => 12) {
    const { app, checks, config, metrics, server, shutdown } = setup();
    const options = { config, shutdown, checks, metrics, eventLoopDelay };
    return { app, admin: createAdmin(options), server, shutdown };
  }

  test("has the requests of the app, and how things stand", async () => {
    const { app, admin: operators, server } = admin();
    await app.request("/");
    await app.request("/nowhere", { method: "POST" });
    server.requests = [{ method: "GET", url: "/slow", since: 0 }];
    server.sockets.size = 7;
    const response = await operators.request("/metrics");
    assertMatch(response.headers.get("Content-Type") ?? "", /version=0\.0\.4/);
    const { samples, types } = parse(await response.text());
    const of = (name: string) => samples.filter((s) => s.name === name);
    assertEquals(
      of("http_requests_total").map(({ labels }) => labels),
      [
        { method: "GET", route: "/", status: "200" },
        { method: "POST", route: "", status: "404" },
      ],
    );
    assertEquals(of("http_requests_in_flight")[0]?.value, 1);
    assertEquals(of("websockets_open")[0]?.value, 7);
    assertEquals(of("event_loop_delay_seconds")[0]?.value, 0.012);
    assertEquals(of("server_phase"), [
      { name: "server_phase", labels: { phase: "serving" }, value: 1 },
    ]);
    assertEquals(types.get("http_request_duration_seconds"), "histogram");
    assertEquals(types.get("process_cpu_seconds_total"), "counter");
    const [memory] = of("process_resident_memory_bytes");
    assert(memory!.value > 1e6, `${memory?.value} bytes of memory`);
    const age = Date.now() / 1000 -
      of("process_start_time_seconds")[0]!.value;
    assert(age >= 0 && age < 3600, `started ${age} s ago`);
  });

  test("says nothing of the event loop where nobody knows", async () => {
    const { admin: operators } = admin(() => undefined);
    const text = await (await operators.request("/metrics")).text();
    assert(!text.includes("event_loop"));
  });

  test("compresses what is long for whoever can read it", async () => {
    const { admin: operators } = admin();
    const headers = { "Accept-Encoding": "gzip" };
    const response = await operators.request("/metrics", { headers });
    assertEquals(response.headers.get("Content-Encoding"), "gzip");
    const text = await new Response(
      response.body!.pipeThrough(new DecompressionStream("gzip")),
    ).text();
    assertMatch(text, /^# HELP http_requests_total /);
    parse(text);
  });

  test("is no part of the public one", async () => {
    const { app } = admin();
    assertEquals((await app.request("/metrics")).status, 404);
  });
});
