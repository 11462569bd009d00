/**
 * A real terminal around a command. `script` comes with every Debian
 * (bsdutils) and every macOS, and hands on the exit code of what it runs.
 */
import process from "node:process";
import { Process, type SpawnOptions } from "./server_process.ts";

export function inTerminal(command: string): string[] {
  // Ctrl-C reaches the shell in between as well, and not every shell waits.
  command = `exec ${command}`;
  return process.platform === "darwin"
    ? ["script", "-q", "/dev/null", "sh", "-c", command]
    : ["script", "-qefc", command, "/dev/null"];
}

export class Terminal extends Process {
  constructor(command: string, options: SpawnOptions) {
    super(inTerminal(command), options);
  }

  /** What one keypress of Ctrl-C does: the terminal signals all at once. */
  ctrlC(): void {
    this.type("\x03");
  }
}
