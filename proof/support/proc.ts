/**
 * What Linux knows of another process. Through `cat` and `ls`: Deno opens /proc
 * to nobody without all permissions.
 */
import { spawnSync } from "node:child_process";

/** Its resident memory in bytes. */
export function memoryOf(pid: number): number {
  const [, kilobytes] = /VmRSS:\s*(\d+) kB/.exec(
    output("cat", `/proc/${pid}/status`),
  )!;
  return Number(kilobytes) * 1024;
}

/** Its open descriptors, one line each. */
export function descriptorsOf(pid: number): string[] {
  return output("ls", "-l", `/proc/${pid}/fd`).trim().split("\n").slice(1);
}

function output(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
  });
  // 1: a descriptor was closed while it was being listed.
  if (status === 0 || status === 1 && stdout) return stdout;
  throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}
