import { defaultLimits } from "#lastcall";
import { splitWords } from "./command.ts";
import { type Diagnosis, error, warning } from "./finding.ts";
import { timeSpan } from "./time_span.ts";

/** One section: its lines, as words. */
interface Section {
  kind: string;
  name: string;
  lines: string[][];
}

const SECTIONS = /^(global|defaults|frontend|backend|listen|resolvers|peers)$/;
/** Sends again what may have arrived: all but a connection that was never made. */
const UNSAFE_RETRY =
  /^(empty-response|junk-response|response-timeout|all-retryable-errors|0rtt-rejected|\d{3})$/;
/** At each, half of the idle connections are closed; a single one at the third. */
const PURGES = 3;

export function examineHaproxy(text: string): Diagnosis {
  const { findings }: Diagnosis = { findings: [], servers: [] };
  const all = sections(text);
  const defaults = all.filter(({ kind }) => kind === "defaults")
    .flatMap(({ lines }) => lines);
  let slowest = 0, how = "";

  for (const { kind, name, lines: own } of all) {
    const servers = own.filter(([word]) => word === "server");
    if (!/^(backend|listen)$/.test(kind) || servers.length === 0) continue;
    const lines = [...defaults, ...own];
    const find = (...words: string[]) =>
      lines.findLast((line) => words.every((word, i) => line[i] === word));
    const shared = lines.filter(([word]) => word === "default-server").flat();

    const unchecked = servers.filter((line) =>
      ![...shared, ...line].includes("check")
    );
    for (const [, server] of unchecked) {
      findings.push(error(
        `nobody checks the server ${server} of ${name}`,
        "it is given requests until a connection to it fails",
        "say `check` on its line, or on default-server",
      ));
    }
    const [, , , checked, version] = find("option", "httpchk") ?? [];
    const send = find("http-check", "send") ?? [];
    if (!find("option", "httpchk")) {
      findings.push(error(
        `${name} only checks that a connection can be made`,
        "a server that is leaving still takes connections; its /readyz says so",
        "say `option httpchk`, and `http-check send meth GET uri /readyz ver " +
          "HTTP/1.1 hdr Host localhost`",
      ));
    } else if (![version, send[send.indexOf("ver") + 1]].includes("HTTP/1.1")) {
      findings.push(error(
        `${name} checks with HTTP/1.0`,
        "without a Host header Node answers 400 and Bun 404, and the server is " +
          "never up",
        "say `http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost`",
      ));
    } else if (![checked, send[send.indexOf("uri") + 1]].includes("/readyz")) {
      findings.push(error(
        `${name} does not check /readyz`,
        "that is where a server says that it is leaving",
        "check /readyz",
      ));
    }

    const retried = find("retry-on")?.slice(1)
      .filter((word) => UNSAFE_RETRY.test(word)) ?? [];
    const spared = find("http-request", "disable-l7-retry");
    if (retried.length > 0 && !spared) {
      findings.push(error(
        `${name} sends again after ${retried.join(", ")}`,
        "the server may have done it already: an order is placed twice",
        "say `retry-on conn-failure`, or add `http-request disable-l7-retry if " +
          "!{ method GET HEAD }`",
      ));
    }
    const reuse = find("http-reuse")?.[1] ?? "safe";
    if (/^(aggressive|always)$/.test(reuse)) {
      findings.push(warning(
        `${name} has http-reuse ${reuse}`,
        "a client's first request, which nobody may send again, can meet a " +
          "connection that is just being closed",
        "leave it at `safe`",
      ));
    }
    const kept = keptFor(
      reuse,
      find,
      servers.map((one) => [...shared, ...one]),
    );
    const { idleTimeout } = defaultLimits;
    if (kept.ms >= idleTimeout) {
      findings.push(error(
        `${name} keeps connections for ${
          kept.ms / 1000
        } s (${kept.how}), and the ` +
          `server for ${idleTimeout / 1000} s`,
        "the server may close one just as a request is sent on it",
        kept.todo,
      ));
    }
    if (!find("timeout", "tunnel")) {
      findings.push(warning(
        `${name} has no timeout tunnel`,
        "a WebSocket that is quiet for longer than a request may be is cut",
        "say `timeout tunnel 1h`",
      ));
    }
    for (const server of servers) {
      const words = [...shared, ...server];
      const inter = setting(words, "fastinter") ?? setting(words, "inter");
      const fall = Number(setting(words, "fall") ?? 3);
      const ms = fall * timeSpan(inter ?? "2s", "ms");
      if (ms > slowest) {
        [slowest, how] = [ms, `fall ${fall} x inter ${ms / fall} ms`];
      }
    }
  }
  return {
    findings,
    servers: [],
    ...slowest > 0 ? { noticing: { ms: slowest, how } } : {},
  };
}

/** How long a connection to a server may be idle, as measured with 2.6. */
function keptFor(
  reuse: string,
  find: (...words: string[]) => string[] | undefined,
  servers: string[][],
): { ms: number; how: string; todo: string } {
  if (reuse === "never") {
    // It belongs to a client's connection, and ends with that.
    const [, name = "", time = "0"] = find("timeout", "http-keep-alive") ??
      find("timeout", "http-request") ?? find("timeout", "client") ?? [];
    return {
      ms: timeSpan(time, "ms"),
      how: `timeout ${name}`,
      todo: `set timeout http-keep-alive below ${
        defaultLimits.idleTimeout / 1000
      } s`,
    };
  }
  const delays = servers.map((words) =>
    timeSpan(setting(words, "pool-purge-delay") ?? "5s", "ms")
  );
  return {
    ms: PURGES * Math.max(...delays),
    how: `${PURGES} x pool-purge-delay`,
    todo: "leave pool-purge-delay at its default, 5s",
  };
}

/** The last one counts: a server's own comes after default-server's. */
function setting(words: string[], name: string): string | undefined {
  const at = words.lastIndexOf(name);
  return at < 0 ? undefined : words[at + 1];
}

function sections(text: string): Section[] {
  const found: Section[] = [];
  for (const line of text.split("\n")) {
    const words = splitWords(line.replace(/(^|\s)#.*/, ""));
    const [kind = "", name = kind] = words;
    if (SECTIONS.test(kind)) found.push({ kind, name, lines: [] });
    else if (words.length > 0) found.at(-1)?.lines.push(words);
  }
  return found;
}
