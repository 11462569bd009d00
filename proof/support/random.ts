/** Numbers that a seed decides, and the requests that are made of them. */
import { seeded } from "./seeded.js";

export class Random {
  readonly seed: number;
  readonly #next: () => number;

  constructor(seed = String(Date.now() % 1e9)) {
    this.seed = Number(seed);
    this.#next = seeded(this.seed);
    console.log(`seed ${this.seed}`);
  }

  /** From 0 up to, not including, `end`. */
  below(end: number): number {
    return Math.floor(this.#next() * end);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** `make` called up to `most` times. */
  some<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }
}

const SNIPPETS = [
  "a",
  "Z",
  "0",
  "-",
  ".",
  "..",
  "/",
  "//",
  ":",
  ";",
  "*",
  "+",
  "~",
  "@",
  "%",
  "%2",
  "%00",
  "%2e%2e",
  "%2F",
  "%25",
  "%C3%28",
  "%F0%9F%8D%BA",
  "%0d%0aX:1",
  "{id}",
  "<b>",
  "'\"",
  "\\",
  "__proto__",
  "constructor",
  "\u00e9",
  "a".repeat(900),
];
const PATHS = [
  "/",
  "/livez",
  "/readyz",
  "/events",
  "/slow",
  "/metrics",
  "/nowhere",
];

/** Path and query; `/slow` is never told a number, nor nothing. */
export function pathOf(random: Random): string {
  const noise = () => random.some(6, () => random.pick(SNIPPETS)).join("");
  const path = random.pick([...PATHS, `/${noise()}`]);
  if (path === "/slow") return `/slow?ms=x${noise().replaceAll("#", "")}`;
  const pairs = random.some(
    3,
    () => `${random.pick(["a", "ms", "cursor", "limit", noise()])}=${noise()}`,
  );
  return pairs.length > 0
    ? `${path}?${pairs.join(random.pick(["&", "&&", ";"]))}`
    : path;
}

const NAMES = [
  "Accept",
  "Accept-Encoding",
  "Access-Control-Request-Headers",
  "Access-Control-Request-Method",
  "Authorization",
  "Content-Encoding",
  "Content-Type",
  "Cookie",
  "Forwarded",
  "If-None-Match",
  "If-Modified-Since",
  "Origin",
  "Range",
  "Referer",
  "User-Agent",
  "X-Forwarded-For",
  "X-HTTP-Method-Override",
  "X-Request-Id",
];
const VALUES = [
  "",
  "*",
  "*/*;q=0.x",
  "gzip, deflate;q=0, br;;q=",
  "application/json",
  "application/json; charset=\u00ff",
  "multipart/form-data",
  "https://a.example",
  "null",
  "bytes=9-1,-0,x",
  'W/"',
  "a=b; c; =d; %",
  "Basic !!!",
  "Bearer",
  "DELETE",
  "{message}",
  "\u00e9\u00ff\t",
  "x".repeat(2_000),
];

export function headersOf(random: Random): [string, string][] {
  return random.some(6, () => [random.pick(NAMES), random.pick(VALUES)]);
}

export function bodyOf(random: Random): string {
  const whole =
    '{"url":"https://a.example","title":["\\ud800",1e999,{"a":null}]}';
  return random.pick([
    "",
    "null",
    "[]",
    whole,
    whole.slice(0, random.below(whole.length)),
    "[".repeat(5_000),
    "a=b&a[]=%",
    "--x\r\nContent-Disposition: form-data\r\n\r\n",
    "\u0000\ufffd".repeat(random.below(99)),
  ]);
}

/** Rejects with what was `told`, when `work` takes longer. */
export async function within<T>(
  ms: number,
  work: T | Promise<T>,
  told: string,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end of ${told}`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
