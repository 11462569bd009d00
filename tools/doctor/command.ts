/** What stands between the signal and the server. */
import { error, type Finding, warning } from "./finding.ts";

const SHELLS = /^(sh|bash|dash|ash|zsh)$/;

/**
 * Programs that hand the signal on to what they start, or become it, each with its
 * options that take a word. tini needs no -g: the server is a single process.
 */
const CARRIERS: Record<string, RegExp> = {
  tini: /^-[pe]$/,
  "docker-init": /^-[pe]$/,
  "dumb-init": /^(-r|--rewrite)$/,
  env: /^(-[uC]|--unset|--chdir)$/,
  exec: /^-a$/,
};

/** Looks at a command line as the system would get it. */
export function examineCommand(where: string, line: string[]): Finding[] {
  const words = carried(line);
  const [program = "", ...args] = words;
  const name = baseName(program);
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
  if (SHELLS.test(name)) {
    // The shell becomes what it execs, which may be npm again.
    const [, become] = /^.*\bexec\s+(.+)$/s.exec(args.join(" ")) ?? [];
    if (become !== undefined) return examineCommand(where, splitWords(become));
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

/** Without what stands in front of the command and does no harm there. */
function carried([program = "", ...rest]: string[]): string[] {
  const takesWord = CARRIERS[baseName(program)];
  if (!takesWord) return [program, ...rest];
  let at = 0;
  while (/^-|^\w+=/.test(rest[at] ?? "") && rest[at] !== "--") {
    at += takesWord.test(rest[at] ?? "") ? 2 : 1;
  }
  return carried(rest.slice(rest[at] === "--" ? at + 1 : at));
}

function baseName(program: string): string {
  return program.replace(/^.*\//, "");
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
