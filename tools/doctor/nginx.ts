import { defaultLimits } from "#lastcall";
import { type Diagnosis, error, type Finding, warning } from "./finding.ts";
import { timeSpan } from "./time_span.ts";

/** `name words;` or `name words { block }`. */
interface Directive {
  name: string;
  words: string[];
  block: Directive[];
}

/** nginx's own, for an upstream's kept connections. */
const DEFAULT_KEEPALIVE = "60s";

export function examineNginx(text: string): Diagnosis {
  const all = flatten(parse(text));
  const findings = all.filter(({ name }) => name === "upstream")
    .flatMap((upstream) => examineUpstream(upstream, all));

  const retried = all.filter(({ name, words }) =>
    name === "proxy_next_upstream" && words.includes("non_idempotent")
  );
  if (retried.length > 0) {
    findings.push(error(
      "proxy_next_upstream says non_idempotent",
      "the server may have done it already: an order is placed twice",
      "leave that word out",
    ));
  }
  const headers = all.filter(({ name }) => name === "proxy_set_header")
    .map(({ words }) => words[0]?.toLowerCase());
  if (!headers.includes("upgrade")) {
    findings.push(warning(
      "no Upgrade header is passed on",
      "a WebSocket cannot be opened",
      "say `proxy_set_header Upgrade $http_upgrade;`, as deploy/nginx.conf does",
    ));
  }
  return { findings, servers: [] };
}

function examineUpstream(
  { words: [name = ""], block }: Directive,
  all: Directive[],
): Finding[] {
  const findings: Finding[] = [];
  const servers = block.filter((one) => one.name === "server");
  const says = (server: Directive, word: string) => server.words.includes(word);
  const usual = servers.filter((server) => !says(server, "backup"));
  const always = servers.some((server) => says(server, "max_fails=0"));
  if (usual.length > 1 && !always) {
    findings.push(error(
      `upstream ${name} has nothing left when each server has failed once`,
      "a refused connection, which every restart brings, takes a server out for " +
        "fail_timeout (10 s by default); when the next one leaves meanwhile, " +
        'clients get 502, "no live upstreams"',
      "list the servers once more with `max_fails=0 backup`",
    ));
  }
  const asks = all.some((one) =>
    one.name === "location" &&
    one.block.some((inner) =>
      inner.name === "proxy_pass" && inner.words[0] === `http://${name}/readyz`
    ) &&
    one.block.some(({ name, words }) =>
      name === "proxy_next_upstream" && words.includes("http_503")
    )
  );
  if (
    usual.length > 1 && !(asks && all.some(({ name }) => name === "mirror"))
  ) {
    findings.push(warning(
      `nobody asks the servers of upstream ${name} for /readyz`,
      "nginx goes on sending to a server that leaves, until a connection is " +
        "refused; Deno, which cannot close its listener alone, loses some POSTs",
      "mirror some requests to /readyz with `proxy_next_upstream error timeout " +
        "http_503`, as deploy/nginx.conf does",
    ));
  }

  const value = (wanted: string) =>
    block.find((one) => one.name === wanted)?.words[0];
  if (value("keepalive") === undefined) return findings;
  const kept = timeSpan(value("keepalive_timeout") ?? DEFAULT_KEEPALIVE);
  const { idleTimeout } = defaultLimits;
  if (kept >= idleTimeout) {
    findings.push(error(
      `upstream ${name} keeps connections for ${
        kept / 1000
      } s, and the server ` +
        `for ${idleTimeout / 1000} s`,
      "the server may close one just as a request is sent on it",
      `set keepalive_timeout below ${idleTimeout / 1000} s`,
    ));
  }
  const http11 = all.some(({ name, words }) =>
    name === "proxy_http_version" && words[0] === "1.1"
  );
  const cleared = all.some(({ name, words }) =>
    name === "proxy_set_header" && words[0] === "Connection" &&
    words[1] !== "close"
  );
  if (!http11 || !cleared) {
    findings.push(warning(
      `the connections of upstream ${name} are not kept after all`,
      "each request says HTTP/1.0 or `Connection: close`, and costs a connection",
      'say `proxy_http_version 1.1;` and `proxy_set_header Connection "";`',
    ));
  }
  return findings;
}

function flatten(directives: Directive[]): Directive[] {
  return directives.flatMap((one) => [one, ...flatten(one.block)]);
}

function parse(text: string): Directive[] {
  const root: Directive = { name: "", words: [], block: [] };
  const open = [root];
  let words: string[] = [];
  const tokens =
    /#[^\n]*|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([{};])|((?:\$\{|[^\s{};"'])+)/g;
  for (const [, double, single, mark, plain] of text.matchAll(tokens)) {
    const word = double ?? single ?? plain;
    if (word !== undefined) words.push(word);
    if (mark === "}") open.pop();
    if (mark !== "{" && mark !== ";") continue;
    const [name = "", ...rest] = words;
    const directive: Directive = { name, words: rest, block: [] };
    open.at(-1)?.block.push(directive);
    if (mark === "{") open.push(directive);
    words = [];
  }
  return root.block;
}
