const UNITS: Record<string, number> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  sec: 1000,
  second: 1000,
  seconds: 1000,
  m: 60_000,
  min: 60_000,
  minute: 60_000,
  minutes: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  hours: 3_600_000,
  d: 86_400_000,
};

/**
 * Milliseconds of "1m30s", "1min 30s", "200ms": as Compose, systemd, HAProxy and
 * nginx write them. They differ in what a number alone means.
 */
export function timeSpan(text: string, bare = "s"): number {
  const trimmed = text.trim();
  if (trimmed === "infinity") return Infinity;
  const parts = [...trimmed.matchAll(/(\d+(?:\.\d+)?)\s*([a-z]*)\s*/g)];
  const read = parts.map(([part]) => part).join("");
  const total = parts.reduce(
    (sum, [, count, unit]) =>
      sum + Number(count) * (UNITS[unit || bare] ?? NaN),
    0,
  );
  if (read !== trimmed || !(total >= 0)) {
    throw new Error(`"${text}" is no time; expected one such as 30s.`);
  }
  return total;
}
