/** Metrics of the app's own, in the text format that Prometheus reads. */

export type Labels = Record<string, string>;

/** Of one metric: more would fill our memory, and Prometheus's. */
const MOST_SERIES = 1_000;
const OTHER = "other";

/** In seconds, for what takes as long as a request. */
export const BUCKETS = [
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

/** One metric: a value for each combination of its labels' values. */
abstract class Metric<Value> {
  readonly #series = new Map<string, { labels: Labels; value: Value }>();

  constructor(
    readonly name: string,
    readonly help: string,
    readonly type: "counter" | "gauge" | "histogram",
    readonly labels: string[],
  ) {
    refuse(name, /^[a-z_:][\w:]*$/i, "");
    const more = '; for a label neither "le" nor "__" in front';
    for (const label of labels) refuse(label, /^(?!__|le$)[a-z_]\w*$/i, more);
  }

  protected abstract begin(): Value;
  protected abstract samplesOf(labels: Labels, value: Value): string[];

  /** Where there are too many already, the one that stands for all others. */
  protected series(given: Labels): { value: Value } {
    const values = this.labels.map((label) => given[label] ?? "");
    return this.#find(values) ??
      (this.#series.size < MOST_SERIES ? this.#add(values) : this.#others());
  }

  #others(): { value: Value } {
    const values = this.labels.map(() => OTHER);
    return this.#find(values) ?? this.#add(values);
  }

  #find(values: string[]): { value: Value } | undefined {
    return this.#series.get(values.join("\0"));
  }

  #add(values: string[]): { value: Value } {
    const labels = Object.fromEntries(
      this.labels.map((label, i) => [label, values[i] ?? ""]),
    );
    const series = { labels, value: this.begin() };
    this.#series.set(values.join("\0"), series);
    return series;
  }

  render(): string[] {
    const samples = [...this.#series.values()]
      .flatMap(({ labels, value }) => this.samplesOf(labels, value));
    return [...head(this.name, this.type, this.help), ...samples];
  }
}

/** A metric of one number. */
abstract class Single extends Metric<number> {
  protected begin(): number {
    return 0;
  }

  protected samplesOf(labels: Labels, value: number): string[] {
    return [sample(this.name, labels, value)];
  }
}

/** What only grows: orders, bytes, failures. */
export class Counter extends Single {
  constructor(name: string, help: string, labels: string[]) {
    super(name, help, "counter", labels);
  }

  add(more = 1, labels: Labels = {}): void {
    if (!(more >= 0)) throw new RangeError(`${this.name} grew by ${more}.`);
    this.series(labels).value += more;
  }
}

/** What goes up and down: a queue, a temperature. */
export class Gauge extends Single {
  constructor(name: string, help: string, labels: string[]) {
    super(name, help, "gauge", labels);
  }

  set(value: number, labels: Labels = {}): void {
    this.series(labels).value = value;
  }
}

/** How values are distributed over buckets with these upper bounds. */
export class Distribution {
  /** By bucket, and last what exceeds them all; not yet summed up. */
  readonly #counts: number[];
  readonly #bounds: number[];
  #sum = 0;

  constructor(bounds: number[]) {
    this.#bounds = bounds;
    this.#counts = new Array(bounds.length + 1).fill(0);
  }

  add(value: number): void {
    const at = this.#bounds.findIndex((bound) => value <= bound);
    this.#counts[at < 0 ? this.#bounds.length : at]! += 1;
    this.#sum += value;
  }

  /** A histogram's lines, in which each bucket includes the smaller ones. */
  render(name: string, labels: Labels): string[] {
    let total = 0;
    const buckets = this.#counts.map((count, i) => {
      const le = String(this.#bounds[i] ?? "+Inf");
      return sample(`${name}_bucket`, { ...labels, le }, total += count);
    });
    return [
      ...buckets,
      sample(`${name}_sum`, labels, this.#sum),
      sample(`${name}_count`, labels, total),
    ];
  }
}

/** How something is distributed: how long it takes, how large it is. */
export class Histogram extends Metric<Distribution> {
  readonly #bounds: number[];

  constructor(name: string, help: string, labels: string[], bounds: number[]) {
    super(name, help, "histogram", labels);
    this.#bounds = [...bounds].sort((a, b) => a - b);
  }

  observe(value: number, labels: Labels = {}): void {
    this.series(labels).value.add(value);
  }

  protected begin(): Distribution {
    return new Distribution(this.#bounds);
  }

  protected samplesOf(labels: Labels, value: Distribution): string[] {
    return value.render(this.name, labels);
  }
}

export function head(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`];
}

export function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) =>
    `${label}="${escaped(text).replaceAll('"', '\\"')}"`
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${
    Number.isFinite(value) ? value : notFinite(value)
  }`;
}

function notFinite(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function refuse(name: string, right: RegExp, more: string): void {
  if (right.test(name)) return;
  throw new Error(
    `${JSON.stringify(name)} is no name that Prometheus takes; expected ` +
      `letters, digits and _, and no digit first${more}.`,
  );
}
