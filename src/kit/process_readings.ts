import { readdirSync } from "node:fs";
import process from "node:process";
import type { Reading } from "./metrics.ts";

const startedAt = Date.now() / 1000 - process.uptime();

/** What Prometheus's own libraries tell of a process, under the same names. */
export function processReadings(): Reading[] {
  const { user, system } = process.cpuUsage();
  return [
    {
      name: "process_cpu_seconds_total",
      help: "Time that the processors spent on this process.",
      type: "counter",
      value: (user + system) / 1e6,
    },
    {
      name: "process_resident_memory_bytes",
      help: "Memory that the process has.",
      value: process.memoryUsage.rss(),
    },
    {
      name: "process_start_time_seconds",
      help: "When the process started, in seconds since 1970.",
      value: startedAt,
    },
    {
      name: "process_open_fds",
      help: "Open file descriptors.",
      value: openDescriptors(),
    },
  ];
}

/** Linux alone tells, and Deno would ask a person whether we may look. */
function openDescriptors(): number | undefined {
  if (process.versions.deno !== undefined) return undefined;
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}
