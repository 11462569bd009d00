import { readFileSync } from "node:fs";

/** The app's variables, as its `.env.example` lists them. */
export interface Variables {
  defaults: Map<string, string>;
  /** Those without which it does not start: the ones not commented out. */
  required: string[];
}

/** The engine's own, where there is no such file. */
const TIMES: [string, string][] = [
  ["DRAIN_DELAY_MS", "0"],
  ["IDLE_GRACE_MS", "250"],
  ["DRAIN_TIMEOUT_MS", "10000"],
  ["CLEANUP_TIMEOUT_MS", "5000"],
];

export function variablesOf(example: string): Variables {
  const defaults = new Map(TIMES);
  const required: string[] = [];
  for (
    const [, off, name = "", value = ""] of example
      .matchAll(/^(# ?)?([A-Z][A-Z0-9_]*)=(.*?)\r?$/gm)
  ) {
    if (off) defaults.set(name, value);
    else required.push(name);
  }
  return { defaults, required };
}

export function readVariables(path: string): Variables {
  try {
    return variablesOf(readFileSync(path, "utf8"));
  } catch {
    return variablesOf("");
  }
}
