import {
  BUCKETS,
  Counter,
  Distribution,
  Gauge,
  head,
  Histogram,
  type Labels,
  sample,
} from "./instruments.ts";
import type { Answered } from "./requests.ts";

const TOTAL = "http_requests_total";
const DURATION = "http_request_duration_seconds";

const METHODS = new Set(
  ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
);

/** The requests of one method on one route. */
interface Series {
  statuses: Map<number, number>;
  seconds: Distribution;
}

type Own = Counter | Gauge | Histogram;

/** What is only known when it is asked for; undefined where nobody knows. */
export interface Reading {
  name: string;
  help: string;
  type?: "counter" | "gauge";
  value: number | undefined;
  labels?: Labels;
}

/** What happened, in the text format that Prometheus reads. */
export class Metrics {
  readonly #routes = new Map<string, Map<string, Series>>();
  readonly #own = new Map<string, Own>();

  /** `add` to it; each label is given there, of a few values each. */
  counter(name: string, help: string, labels: string[] = []): Counter {
    return this.#keep(new Counter(name, help, labels));
  }

  /** `set` it. */
  gauge(name: string, help: string, labels: string[] = []): Gauge {
    return this.#keep(new Gauge(name, help, labels));
  }

  /** What it is to `observe` is sorted by these upper bounds. */
  histogram(
    name: string,
    help: string,
    labels: string[] = [],
    bounds: number[] = BUCKETS,
  ): Histogram {
    return this.#keep(new Histogram(name, help, labels, bounds));
  }

  #keep<One extends Own>(one: One): One {
    const { name } = one;
    if (this.#own.has(name) || name === TOTAL || name === DURATION) {
      throw new Error(`There is a metric ${name} already.`);
    }
    this.#own.set(name, one);
    return one;
  }

  /** For `observeRequests`. */
  readonly count = (
    { method, route, status, ms }: Pick<
      Answered,
      "method" | "route" | "status" | "ms"
    >,
  ): void => {
    // A client may invent methods and paths, and must not fill the memory.
    const series = this.#series(
      route ?? "",
      METHODS.has(method) ? method : "OTHER",
    );
    series.statuses.set(status, (series.statuses.get(status) ?? 0) + 1);
    series.seconds.add(ms / 1000);
  };

  #series(route: string, method: string): Series {
    let methods = this.#routes.get(route);
    if (!methods) this.#routes.set(route, methods = new Map());
    let series = methods.get(method);
    if (!series) {
      series = { statuses: new Map(), seconds: new Distribution(BUCKETS) };
      methods.set(method, series);
    }
    return series;
  }

  render(readings: Reading[]): string {
    const totals = head(TOTAL, "counter", "Requests that were answered.");
    const durations = head(
      DURATION,
      "histogram",
      "Time until the answer was ready.",
    );
    for (const [route, methods] of this.#routes) {
      for (const [method, { statuses, seconds }] of methods) {
        for (const [status, count] of statuses) {
          const labels = { method, route, status: String(status) };
          totals.push(sample(TOTAL, labels, count));
        }
        durations.push(...seconds.render(DURATION, { method, route }));
      }
    }
    const own = [...this.#own.values()].flatMap((one) => one.render());
    const read = readings.flatMap((
      { name, help, type = "gauge", value, labels = {} },
    ) =>
      value === undefined
        ? []
        : [...head(name, type, help), sample(name, labels, value)]
    );
    return [...totals, ...durations, ...own, ...read].join("\n") + "\n";
  }
}
