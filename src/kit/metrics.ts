import type { Answered } from "./requests.ts";

/** Upper bounds, in seconds. */
const BUCKETS = [
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
];
const METHODS = new Set(
  ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
);

/** The requests of one method on one route. */
interface Series {
  statuses: Map<number, number>;
  /** By bucket, and last what exceeds them all; not yet summed up. */
  buckets: number[];
  seconds: number;
}

/** What a gauge says right now; undefined where nobody knows. */
export interface Gauge {
  name: string;
  help: string;
  value: number | undefined;
  labels?: Record<string, string>;
}

/** What happened, in the text format that Prometheus reads. */
export class Metrics {
  readonly #routes = new Map<string, Map<string, Series>>();

  /** For `observeRequests`. */
  readonly count = (
    { method, route, status, ms }: Omit<Answered, "requestId">,
  ): void => {
    // A client may invent methods and paths, and must not fill the memory.
    const series = this.#series(
      route ?? "",
      METHODS.has(method) ? method : "OTHER",
    );
    series.statuses.set(status, (series.statuses.get(status) ?? 0) + 1);
    const seconds = ms / 1000;
    const at = BUCKETS.findIndex((bound) => seconds <= bound);
    series.buckets[at < 0 ? BUCKETS.length : at]! += 1;
    series.seconds += seconds;
  };

  #series(route: string, method: string): Series {
    let methods = this.#routes.get(route);
    if (!methods) this.#routes.set(route, methods = new Map());
    let series = methods.get(method);
    if (!series) {
      const buckets = new Array(BUCKETS.length + 1).fill(0);
      methods.set(
        method,
        series = { statuses: new Map(), buckets, seconds: 0 },
      );
    }
    return series;
  }

  render(gauges: Gauge[]): string {
    const total = "http_requests_total";
    const duration = "http_request_duration_seconds";
    const totals = head(total, "counter", "Requests that were answered.");
    const durations = head(
      duration,
      "histogram",
      "Time until the answer was ready.",
    );
    for (const [route, methods] of this.#routes) {
      for (const [method, { statuses, buckets, seconds }] of methods) {
        for (const [status, count] of statuses) {
          const labels = { method, route, status: String(status) };
          totals.push(sample(total, labels, count));
        }
        let count = 0;
        for (const [i, more] of buckets.entries()) {
          const le = String(BUCKETS[i] ?? "+Inf");
          const labels = { method, route, le };
          durations.push(sample(`${duration}_bucket`, labels, count += more));
        }
        durations.push(sample(`${duration}_sum`, { method, route }, seconds));
        durations.push(sample(`${duration}_count`, { method, route }, count));
      }
    }
    const rest = gauges.flatMap(({ name, help, value, labels = {} }) =>
      value === undefined
        ? []
        : [...head(name, "gauge", help), sample(name, labels, value)]
    );
    return [...totals, ...durations, ...rest].join("\n") + "\n";
  }
}

function head(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function sample(
  name: string,
  labels: Record<string, string>,
  value: number,
): string {
  const pairs = Object.entries(labels).map(([label, text]) =>
    `${label}="${escaped(text)}"`
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("\n", "\\n");
}
