/**
 * The one sum that every destination has to obey: whoever kills the process must
 * wait for longer than its shutdown may take.
 */
import { error, type Finding, type Server } from "./finding.ts";

/** For the runtime to start ending, and for a machine that is busy. */
const TO_SPARE = 5_000;

export interface Budget {
  /** What may be needed, in milliseconds. */
  needed: number;
  /** The same as a sum for people. */
  sum: string;
}

export function budgetOf({ preStop, times }: Server): Budget {
  const parts: [string, number][] = [
    ["preStop", preStop],
    ["DRAIN_DELAY_MS", times.drainDelay],
    ["IDLE_GRACE_MS", times.idleGrace],
    ["DRAIN_TIMEOUT_MS", times.drainTimeout],
    ["CLEANUP_TIMEOUT_MS", times.cleanupTimeout],
    ["to spare", TO_SPARE],
  ];
  const needed = parts.reduce((sum, [, ms]) => sum + ms, 0);
  const terms = parts.filter(([, ms]) => ms > 0)
    .map(([name, ms]) => `${ms / 1000} (${name})`);
  return { needed, sum: `${terms.join(" + ")} = ${needed / 1000} s` };
}

export function examineBudget(server: Server): Finding[] {
  const { name, grace } = server;
  if (!grace) return [];
  const { needed, sum } = budgetOf(server);
  if (grace.ms >= needed) return [];
  return [error(
    `${name} is killed after ${
      grace.ms / 1000
    } s (${grace.setting}), but may ` +
      `need ${needed / 1000} s`,
    `what is in flight then is cut, and no hook closes anything: ${sum}`,
    `set it to ${
      Math.ceil(needed / 1000)
    } s or more, or shorten what it adds up`,
  )];
}
