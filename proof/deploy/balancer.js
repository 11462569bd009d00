// The two balancers, run from the files that we ship: only addresses differ.
// What each says on its way is read line by line, and its access log tells which
// server answered each request.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Program } from "./program.js";

const root = join(import.meta.dirname, "../..");

/**
 * @typedef {object} Balancer
 * @property {number} port where clients come in
 * @property {(server: number, nth: number) => Promise<unknown>} cameBack
 *   the balancer has noticed, for the nth time, that a server is there
 * @property {() => number[]} served how many requests each server was given
 * @property {() => string[]} trouble what it wrote of requests that went wrong
 * @property {() => Promise<unknown>} end
 */

/**
 * haproxy.cfg takes its addresses from the environment.
 *
 * @param {number} port
 * @param {number[]} servers
 * @returns {Promise<Balancer>}
 */
export async function startHaproxy(port, servers) {
  const program = new Program(
    ["haproxy", "-f", join(root, "deploy/haproxy.cfg")],
    {
      BIND: `127.0.0.1:${port}`,
      ...Object.fromEntries(
        servers.map((server, i) => [`APP${i + 1}`, `127.0.0.1:${server}`]),
      ),
    },
  );
  /** @param {number} server @param {string} state @param {number} nth */
  const says = (server, state, nth) =>
    program.line(new RegExp(`^Server app/app${server + 1} is ${state}`), nth);
  // Nothing listens yet: it says so once it has begun to look.
  await Promise.all(servers.map((_, server) => says(server, "DOWN", 1)));
  return {
    port,
    cameBack: (server, nth) => says(server, "UP", nth),
    served: () =>
      servers.map((_, server) =>
        program.matching(new RegExp(` app/app${server + 1} \\d+/`)).length
      ),
    trouble: () => program.matching(/ app\/\S+ \S+ (5\d\d|-1) /),
    end: () => program.end(),
  };
}

/**
 * nginx.conf is a file for conf.d: it needs a main file around it, and its three
 * addresses are replaced in a copy.
 *
 * @param {number} port
 * @param {number[]} servers
 * @param {string} folder
 * @returns {Promise<Balancer>}
 */
export async function startNginx(port, servers, folder) {
  let text = readFileSync(join(root, "deploy/nginx.conf"), "utf8");
  /** @param {string} from @param {string} to @param {number} times */
  const replace = (from, to, times) => {
    if (text.split(from).length === times + 1) text = text.replaceAll(from, to);
    else throw new Error(`deploy/nginx.conf lacks ${times} times "${from}".`);
  };
  replace("listen 8080;", `listen 127.0.0.1:${port};`, 1);
  servers.forEach((server, i) =>
    replace(`server 127.0.0.1:300${i + 1} `, `server 127.0.0.1:${server} `, 2)
  );
  writeFileSync(join(folder, "lastcall.conf"), text);
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(folder, name)};`);
  const main = join(folder, "nginx.conf");
  writeFileSync(
    main,
    `daemon off;
worker_processes 1;
pid ${join(folder, "nginx.pid")};
error_log stderr notice;
events { worker_connections 4096; }
http {
  ${temporary.join("\n  ")}
  log_format proof 'to [$upstream_addr] $status $upstream_status $request';
  access_log ${join(folder, "access.log")} proof;
  include ${join(folder, "lastcall.conf")};
}
`,
  );
  const program = new Program(["nginx", "-p", folder, "-c", main]);
  await program.line(/start worker process /);
  const log = new Program([
    "tail",
    "-n",
    "+1",
    "-f",
    join(folder, "access.log"),
  ]);
  /** @param {number | undefined} server */
  const answeredBy = (server) =>
    new RegExp(`^to \\[([^\\]]*, )?127\\.0\\.0\\.1:${server}\\] `);
  return {
    port,
    // It says nothing of its own accord, so wait until it gives the server a
    // request again.
    async cameBack(server, nth) {
      if (nth === 1) return;
      const pattern = answeredBy(servers[server]);
      await log.line(pattern, log.matching(pattern).length + 1);
    },
    served: () =>
      servers.map((server) => log.matching(answeredBy(server)).length),
    trouble: () => [
      ...log.matching(/\] 5\d\d /),
      ...program.matching(/\[(warn|error|crit|alert|emerg)\]/)
        .filter((line) => !line.includes("111: Connection refused")),
    ],
    async end() {
      await program.end();
      await log.end();
    },
  };
}
