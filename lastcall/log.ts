import { invoke } from "./errors.ts";
import type { Lost, Output } from "../runtimes/runtime.ts";

/** A fact in the past tense, and its particulars. */
export interface LogEntry {
  level: "debug" | "info" | "warn" | "error";
  message: string;
  [field: string]: unknown;
}

export type Log = (entry: LogEntry) => void;

/** One JSON line an entry: what every log collector reads. */
export function jsonLogTo({ write }: Output): Log {
  return (entry) => write(lineOf(entry), (lost) => lineOf(lossOf(lost)));
}

/** How a log tells of lines that are missing. */
export function lossOf({ lines, bytes }: Lost): LogEntry {
  return { level: "warn", message: "log lines dropped", count: lines, bytes };
}

function lineOf({ level, message, ...fields }: LogEntry): string {
  const time = new Date().toISOString();
  return JSON.stringify({ time, level, message, ...fields });
}

/** A logger that throws, or rejects, must not keep a server from closing. */
export function guarded(log: (entry: LogEntry) => unknown): Log {
  return (entry) => {
    // There is nobody left to tell.
    invoke(() => log(entry)).catch(() => {});
  };
}
