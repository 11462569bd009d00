// The pages that a project begins with.

/** @import { Choices } from "./stamp.js" */

/** Where the manual is. */
const MANUAL = "https://www.npmjs.com/package/lastcall";

const TITLES = {
  deno: "Deno 2.9.6 or later",
  bun: "Bun 1.4.4 or later",
  node: "Node 20 or later",
};
const FIRST = { deno: "", bun: "bun install", node: "npm ci" };
const RUN = { deno: "deno task", bun: "bun run", node: "npm run" };

/** @param {Choices["runtimes"][number]} runtime @param {string} verb */
function runs(runtime, verb) {
  const short = runtime === "node" && ["start", "test"].includes(verb);
  return short ? `npm ${verb}` : `${RUN[runtime]} ${verb}`;
}

/** @param {string[][]} rows as `deno fmt` aligns them */
function table(rows) {
  const widths =
    rows[0]?.map((_, at) =>
      Math.max(3, ...rows.map((row) => row[at]?.length ?? 0))
    ) ?? [];
  const line = (/** @type {string[]} */ cells) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const [head = [], ...rest] = rows;
  return [
    line(head),
    line(widths.map((width) => "-".repeat(width))),
    ...rest.map(line),
  ]
    .join("\n");
}

/** @param {Choices} choices */
export function readmeOf({ name, runtimes, example, deploy }) {
  const [first = "node"] = runtimes.includes("node") ? ["node"] : runtimes;
  const runtime = /** @type {Choices["runtimes"][number]} */ (first);
  const all = (/** @type {string} */ verb) =>
    runtimes.map((runtime) => {
      const before = verb === "start" && FIRST[runtime];
      return `\`${before ? `${before} && ` : ""}${runs(runtime, verb)}\``;
    });
  const ways = deploy.filter((way) => way !== "github");
  return `# ${name}

A [Hono](https://hono.dev) server that loses nothing on its way out: at a SIGTERM it finishes what is in flight, closes what it has opened, and ends with an exit code that tells the truth.

## Two commands

${
    table([
      ["", ...runtimes.map((runtime) => TITLES[runtime])],
      ["start", ...all("start")],
      ["test", ...all("test")],
    ])
  }

\`dev\` restarts with each change, \`check\` looks at formatting, lint and types${
    example ? ", `eject` takes the example `src/bookmarks` out" : ""
  }. Each command answers \`--help\`.

## Whose each room is

${
    table([
      ["folder", "what it is", "whose"],
      [
        "`src/`",
        "the app: `main.ts`, the routes in `app.ts`, the variables in `config.ts`",
        "yours",
      ],
      [
        "`src/kit/`",
        "logs, metrics, errors, admin port; works as it is",
        "yours",
      ],
      ["`tests/`", "the tests of `src/`", "yours"],
      ...ways.length > 0 ? [["`deploy/`", ways.join(", "), "yours"]] : [],
      [
        "`scripts/`",
        "what `start`, `dev`, `build`, `test` and `check` run",
        "yours",
      ],
      [
        "`lastcall/`, `runtimes/`, `tools/`",
        "the engine and its command; `upgrade` replaces them",
        "the engine",
      ],
    ])
  }

## A route

In \`src/app.ts\`, or in a file of its own that \`main.ts\` mounts with \`app.route("/orders", orders(db))\`:

\`\`\`ts
app.get("/hello/:name", (c) => c.text(\`Hello, \${c.req.param("name")}.\\n\`));
\`\`\`

## A resource that closes

In \`src/main.ts\`, where the comment says so. What was opened last is closed first, after the last request:

\`\`\`ts
const db = await connect(config.databaseUrl, { signal: shutdown.signal });
shutdown.onClose("database", () => db.close());
checks.add("database", (signal) => db.ping(signal)); // makes /readyz red
\`\`\`

## A variable

A line in the schema of \`src/config.ts\`, a line in \`.env.example\`${
    runtimes.includes("deno")
      ? ", its name among the permissions of `deno.json`"
      : ""
  }; \`check\` names the place that was forgotten:

\`\`\`ts
GREETING: v.optional(text("a word", (word) => word !== ""), "Hello"),
\`\`\`

## A test

A file \`tests/…_test.ts\`; \`setup()\` makes the app in the test's own process, with no port:

\`\`\`ts
test("the root says hello", async () => {
  const { app } = setup();
  assertEquals((await app.request("/")).status, 200);
});
\`\`\`

## A stream

A handler that would never end by itself listens to \`shutdown.signal\`. The sockets of \`upgradeWebSocket\` and the streams of \`eventStream\`, both of \`#lastcall\`, are told by the engine; a stream with \`{ onShutdown: "finish" }\` is waited for instead.

## How it ends

The last line of the log is a report: what was in flight, what was answered, what was cut and by which deadline. The exit code is 0 where everything was answered and closed, 1 where something was cut or failed, 78 where the configuration is wrong.

Give the process \`preStop + DRAIN_DELAY_MS + IDLE_GRACE_MS + DRAIN_TIMEOUT_MS + CLEANUP_TIMEOUT_MS + 5 s\` before you kill it. \`${
    runs(runtime, "doctor")
  }\` adds it up from your files; \`${
    runs(runtime, "drill")
  }\` restarts the server under load and shows what became of every request.

## A newer engine

\`${
    runs(runtime, "upgrade")
  }\` replaces the engine, shows what changed, and says what else is new upstream. [The manual](${MANUAL}) and \`lastcall/CONTRACT.md\` say what the engine promises.
`;
}

/** @param {Choices} choices */
export function agentsOf({ runtimes, deploy }) {
  const run = runtimes.map((runtime) => `\`${RUN[runtime]}\``);
  const only = runtimes.length === 3
    ? "The code runs on Deno, Bun and Node: no `Deno.*`, no `Bun.*`, and of `node:` what all three have."
    : `The code runs on ${
      runtimes.map((r) => TITLES[r].split(" ")[0]).join(" and ")
    }.`;
  return `# For whoever works here with an agent

Whose each room is:

${
    table([
      ["folder", "what it is"],
      [
        "`src/`",
        "the app: `main.ts` puts it together, `app.ts` has the routes",
      ],
      [
        "`src/kit/`",
        "logs, metrics, errors, admin port: works as it is, may be changed",
      ],
      ["`tests/`", "the tests of `src/`"],
      ...deploy.some((way) => way !== "github")
        ? [["`deploy/`", "how it is deployed"]]
        : [],
      [
        "`lastcall/`, `runtimes/`, `tools/`",
        "the engine and its command; never edit them: `upgrade` replaces them",
      ],
    ])
  }

Commands, under ${run.join(", ")}:

- \`check\`: formatting, lint, types, and whether every place has every variable. \`deno fmt\` repairs the first.
- \`test\`: the tests of \`src/\` and the engine's unit tests, in seconds.
- \`dev\`: the server, anew with each change. \`start\`: the server.

Rules:

- Import the engine as \`#lastcall\`, never by a path.
- Open a resource in \`main.ts\` and say beside it how it closes: \`shutdown.onClose(name, close)\`.
- A handler that would never end listens to \`shutdown.signal\`. A handler that takes its time needs nothing.
- Never call \`process.exit\` or \`Deno.exit\`; \`main.ts\` ends the process, with the report's exit code.
- A variable is read in \`src/config.ts\` and nowhere else; \`check\` names the place that a new one was forgotten in.
- Log with \`getLogger("name")\` of LogTape; a message is a fact in the past tense, and its particulars are fields.
- ${only}
- A test waits for an event, never for a time.
`;
}
