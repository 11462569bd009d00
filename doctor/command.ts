/** What stands between the signal and the server. */
import { error, type Finding, warning } from "./finding.ts";

const SHELLS = /^(.*\/)?(sh|bash|dash|ash|zsh)$/;

/** Looks at a command line as the system would get it. */
export function examineCommand(where: string, words: string[]): Finding[] {
  const [program = "", ...args] = words;
  const name = program.replace(/^.*\//, "");
  const direct =
    "start the server itself: node dist/main.js, bun src/main.ts, " +
    "or the command of deno.json's task `start`";
  if (/^(npm|npx|yarn|pnpm)$/.test(name)) {
    return [error(
      `${where} starts ${name} in front of the server`,
      `a SIGTERM ends ${name}, and the server may never hear of it`,
      direct,
    )];
  }
  if (SHELLS.test(program) && !/\bexec\b/.test(args.join(" "))) {
    return [error(
      `${where} starts a shell in front of the server`,
      "the shell keeps the SIGTERM for itself",
      `${direct}; or say \`exec\` in the shell`,
    )];
  }
  const task = [name, args[0]].join(" ");
  if (task === "bun run" || task === "deno task") {
    return [warning(
      `${where} starts \`${task}\` in front of the server`,
      "it passes SIGTERM on, but is one more process to carry and to trust",
      direct,
    )];
  }
  return [];
}

/** Words as a shell without variables would split them. */
export function splitWords(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)]
    .map(([, double, single, plain]) => double ?? single ?? plain ?? "");
}

/** Both that the server listens to by default. */
export function examineSignal(where: string, signal: string): Finding[] {
  if (/^(SIG)?(TERM|INT)$/.test(signal) || /^(15|2)$/.test(signal)) return [];
  return [error(
    `${where} is ${signal}`,
    "the server begins its shutdown at SIGTERM or SIGINT, and nothing else",
    "leave it out, or say SIGTERM",
  )];
}
