/**
 * The server under test: every way a request can be in flight, behind the one
 * door of the engine. What it does is chosen by the environment, and whatever
 * a test may want to wait for is printed as one JSON line.
 *
 * PORT, HOST, DRAIN_DELAY_MS, IDLE_GRACE_MS, DRAIN_TIMEOUT_MS,
 * CLEANUP_TIMEOUT_MS   as in the app, with shorter defaults
 * HOOKS="db:ok,cache:throw,queue:hang,slow:200"   registered in this order
 * JOBS="ticker:ok,mailer:throw,stuck:hang"
 * SLOW_START_MS        start-up takes this long after the hooks are registered
 * START_HEEDS_SIGNAL   ... and gives up when `shutdown.signal` aborts
 * BEGIN_FIRST          the shutdown begins before `serve` is called
 * SOCKET_BATCH         how many WebSockets are closed at once
 * SECOND_SERVER        one more server on the same controller
 * UNIX, REUSE_PORT, TLS_CERT, TLS_KEY, LIMITS (JSON)   options of `serve`
 * SIGNALS              which ones begin the shutdown, separated by commas
 * FAILS                every request fails, and no app answers for it
 * STALLS               the signal stops its loop until it is typed to
 * NO_RUN               `serve` alone, without `run` around it
 * NO_EXIT              no explicit exit at the end
 * LINGERS_MS           something holds the process for so long after the end
 * NOISE_BYTES, NOISE_TO=console|stdout|stderr     written by the last hook
 * ABRUPT               a bad server on purpose: SIGTERM ends it on the spot
 * BLIND=requestIP|requestIP:stays|pendingRequests   what Bun no longer tells
 * CLOCK_STEP_MS, CLOCK_STEP_AT=serving|draining|closing   somebody sets the clock
 */
import { readSync } from "node:fs";
import process from "node:process";
import { type Context, Hono } from "hono";
import { html } from "hono/html";
import { HTTPException } from "hono/http-exception";
import { streamSSE } from "hono/streaming";
import * as runtime from "#runtime";
import {
  bodyLimit,
  eventStream,
  getConnInfo,
  health,
  run,
  serve,
  ShutdownController,
  upgradeWebSocket,
} from "../../src/server/mod.ts";

const env = (name: string) => runtime.env(name) || undefined;
const ms = (name: string, fallback: number) => Number(env(name) ?? fallback);
const emit = (event: string, fields: object = {}) =>
  console.log(JSON.stringify({ event, ...fields }));
const delay = (time: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, time));
const forever = () => new Promise<never>(() => {});
const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

if (env("ABRUPT")) process.on("SIGTERM", () => process.exit(0));

if (env("BLIND")) {
  // deno-lint-ignore no-explicit-any
  const bun = (globalThis as any).Bun;
  const { serve } = bun;
  const [property, stays] = env("BLIND")!.split(":");
  const seen = new WeakSet();
  bun.serve = (options: object) => {
    const blind = new Proxy(
      serve({
        ...options,
        // deno-lint-ignore no-explicit-any
        fetch: (request: any) => (options as any).fetch(request, blind),
      }),
      {
        get(server, name) {
          if (name === property && !stays) {
            return name === "requestIP" ? () => null : undefined;
          }
          if (name === property) return (request: object) => seen.add(request);
          const value = server[name];
          return typeof value === "function" ? value.bind(server) : value;
        },
      },
    );
    return blind;
  };
}

/** The wall clock is wrong by this much. */
let clockStep = 0;
{
  const { now } = Date;
  Date.now = () => now() + clockStep;
  globalThis.Date = new Proxy(Date, {
    construct: (date, args) =>
      Reflect.construct(date, args.length === 0 ? [Date.now()] : args),
  });
}
function stepClock(at: string): void {
  if (env("CLOCK_STEP_AT") !== at) return;
  clockStep = ms("CLOCK_STEP_MS", 0);
  emit("clock stepped", { now: new Date().toISOString() });
}

const shutdown = new ShutdownController({
  drainDelay: ms("DRAIN_DELAY_MS", 0),
  idleGrace: ms("IDLE_GRACE_MS", 250),
  drainTimeout: ms("DRAIN_TIMEOUT_MS", 3000),
  cleanupTimeout: ms("CLEANUP_TIMEOUT_MS", 2000),
  socketBatch: ms("SOCKET_BATCH", 1000),
});
shutdown.signal.addEventListener(
  "abort",
  () => emit("signal aborted", { reason: String(shutdown.signal.reason) }),
);
shutdown.signal.addEventListener("abort", () => {
  stepClock("draining");
  // By then it is closing, and the idle connections have their grace.
  setTimeout(() => stepClock("closing"), 50);
});
if (env("STALLS")) {
  shutdown.signal.addEventListener("abort", () => {
    emit("stalled");
    for (let typed = 0; typed === 0;) typed = readOrNothing();
  });
}

/** Holds the loop; where standard input would not wait (Node's), for 1 ms. */
function readOrNothing(): number {
  try {
    return readSync(0, new Uint8Array(1));
  } catch {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    return 0;
  }
}

/** Bytes a client can check one by one: number i is i % 251. */
function pattern(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const period = 251;
  for (let i = 0; i < Math.min(period, length); i++) bytes[i] = i;
  for (let filled = period; filled < length; filled *= 2) {
    bytes.copyWithin(filled, 0, Math.min(filled, length - filled));
  }
  return bytes;
}

const query = (c: Context, name: string, fallback: number) =>
  Number(c.req.query(name) ?? fallback);
const megabytes = (c: Context, fallback: number) =>
  query(c, "mb", fallback) * 1_000_000;

const app = new Hono();
/** Echoes; told to flood, it sends 6.5 MB and then "flooded". */
app.get(
  "/ws",
  upgradeWebSocket(() => ({
    onOpen(_, socket) {
      emit("socket opened");
      socket.send("welcome");
    },
    onMessage({ data }, socket) {
      if (data !== "flood") return socket.send(`echo ${data}`);
      for (let n = 0; n < 100; n++) socket.send("x".repeat(65_536));
      socket.send("flooded");
      emit("flooded");
    },
    onClose: ({ code }) => emit("socket closed", { code }),
  })),
);
// These come before the middleware: their answers are synchronous.
app.on(["GET", "POST"], "/", (c) => c.text("hello"));
app.route("/", health(shutdown));

// Hono's own would write to stderr, which tests expect to stay empty.
app.onError((error, c) => {
  if (error instanceof HTTPException) return error.getResponse();
  emit("handler failed", { path: c.req.path, error: error.message });
  return c.text("handler failed", 500);
});

app.use(async (c, next) => {
  const { pathname, search } = new URL(c.req.url);
  const fields = { method: c.req.method, path: pathname, query: search };
  emit("handling", { ...fields, phase: shutdown.phase });
  await next();
  emit("handled", fields);
});

app.get("/slow", async (c) => {
  await delay(query(c, "ms", 500));
  return c.text("slow but whole");
});
app.all("/never", () => forever());
app.get("/never/heard", (c) => {
  c.req.raw.signal.addEventListener("abort", () => {});
  return forever();
});
app.get("/conninfo", (c) => c.json(getConnInfo(c)));

app.get("/big", (c) => c.body(pattern(megabytes(c, 30))));
app.get("/big-stream", (c) => {
  const bytes = pattern(megabytes(c, 30));
  let sent = 0;
  return c.body(
    new ReadableStream({
      pull(controller) {
        if (sent >= bytes.length) return controller.close();
        controller.enqueue(bytes.subarray(sent, sent += 65_536));
      },
      cancel: () => emit("reader cut"),
    }),
  );
});
app.get("/drip", (c) => {
  let left = query(c, "n", 10);
  return c.body(
    new ReadableStream({
      async pull(controller) {
        if (left === 0) return controller.close();
        controller.enqueue(new TextEncoder().encode(`drop ${left--}\n`));
        await delay(query(c, "ms", 60));
      },
    }),
  );
});
app.get("/endless", (c) => {
  let timer: ReturnType<typeof setInterval>;
  return c.body(
    new ReadableStream({
      start(controller) {
        const tick = () =>
          controller.enqueue(new TextEncoder().encode("tick\n"));
        tick();
        timer = setInterval(tick, 50);
      },
      cancel: () => clearInterval(timer),
    }),
  );
});
app.get("/events", (c) =>
  streamSSE(c, async (stream) => {
    await stream.writeSSE({ event: "hello", data: "1" });
    await aborted(shutdown.signal);
    await stream.writeSSE({ event: "bye", data: "the server is leaving" });
  }));

app.get(
  "/stream",
  (c) =>
    eventStream(c, shutdown.signal, async (stream, over) => {
      await stream.writeSSE({ event: "hello", data: "1" });
      await aborted(over);
    }, { heartbeat: query(c, "heartbeat", 15_000) }),
);

/** A browser's view: reports to `to` what becomes of its two connections. */
app.get("/page", (c) =>
  c.html(html`
    <!doctype html>
    <title>lastcall</title>
    <script>
        const report = (what) =>
          fetch("${c.req.query("to")}", {
            method: "POST",
            mode: "no-cors",
            body: JSON.stringify(what),
          });
        const connect = () => {
          const socket = new WebSocket("ws://" + location.host + "/ws");
          let opened = false;
          socket.onopen = () => {
            opened = true;
            report({ what: "socket opened" });
          };
          socket.onclose = ({ code, reason, wasClean }) => {
            if (opened) report({ what: "socket closed", code, reason, wasClean });
            setTimeout(connect, 100);
          };
        };
        connect();
        const events = new EventSource("/stream");
        for (const type of ["hello", "shutdown"]) {
          events.addEventListener(type, ({ data }) => report({ what: type, data }));
        }
      </script>
  `));

const count = async (c: Context) =>
  c.text(String((await c.req.arrayBuffer()).byteLength));
app.post("/upload", count);
app.post("/limited/upload-late", async (_, next) => {
  await delay(500);
  await next();
});
app.use("/limited/*", bodyLimit(1_000_000));
app.post("/limited/upload", count);
app.post("/limited/never", () => forever());
app.post("/limited/more", bodyLimit(6_000_000), count);
app.post("/limited/less", bodyLimit(1000), count);
app.post("/upload-late", async (c) => {
  await delay(query(c, "ms", 500));
  return await count(c);
});
app.post("/early", (c) => c.text("no need to read it"));
app.post("/early-slow", async (c) => {
  await delay(query(c, "ms", 500));
  return c.text("no need to read it");
});
app.post("/early-big", (c) => c.body(pattern(megabytes(c, 2))));

app.get("/throw-later", (c) => {
  setTimeout(() => {
    throw new Error("thrown later");
  }, 0);
  return c.text("watch out");
});
app.get("/reject-later", (c) => {
  setTimeout(() => void Promise.reject(new Error("rejected later")), 0);
  return c.text("watch out");
});
app.get("/wait-until", (c) => {
  const work = delay(query(c, "ms", 300)).then(() => emit("waited"));
  shutdown.waitUntil(work, "after-work");
  return c.text("later");
});
app.get("/begin", (c) => {
  void shutdown.begin("asked");
  return c.text("as you wish");
});

/** Writes numbered lines, so that a missing one can be named. */
function makeNoise(): void {
  const total = ms("NOISE_BYTES", 0);
  const to = env("NOISE_TO") ?? "console";
  for (let written = 0, n = 0; written < total; n++, written += 100) {
    const line = `noise ${n} `.padEnd(99, ".");
    if (to === "console") console.log(line);
    else process[to === "stderr" ? "stderr" : "stdout"].write(line + "\n");
  }
}

function registerHooksAndJobs(): void {
  if (env("NOISE_BYTES")) shutdown.onClose("noise", makeNoise);
  const pairs = (name: string) =>
    (env(name)?.split(",") ?? []).map((pair) => pair.split(":"));
  for (const [name = "", mode = "ok"] of pairs("HOOKS")) {
    shutdown.onClose(name, async () => {
      emit("hook", { name });
      if (mode === "throw") throw new Error(`${name} would not close`);
      if (mode === "hang") await forever();
      if (Number(mode)) await delay(Number(mode));
      emit("hook done", { name });
    });
  }
  for (const [name = "", mode = "ok"] of pairs("JOBS")) {
    shutdown.job(name, async (signal) => {
      await aborted(signal);
      emit("job told", { name });
      if (mode === "throw") throw new Error(`${name} broke`);
      if (mode === "hang") await forever();
      await delay(50);
      emit("job done", { name });
    });
  }
}

async function start(): Promise<void> {
  registerHooksAndJobs();
  emit("starting");
  const slow = ms("SLOW_START_MS", 0);
  if (slow && env("START_HEEDS_SIGNAL")) {
    await Promise.race([delay(slow), aborted(shutdown.signal)]);
    shutdown.signal.throwIfAborted();
  } else if (slow) await delay(slow);
  if (env("BEGIN_FIRST")) void shutdown.begin("asked");

  const hostname = env("HOST") ?? "127.0.0.1";
  const port = ms("PORT", 0);
  const [cert, key] = [env("TLS_CERT"), env("TLS_KEY")];
  const fails = () => Promise.reject(new Error("a secret"));
  const server = await serve(env("FAILS") ? { fetch: fails } : app, {
    hostname,
    port,
    shutdown,
    unix: env("UNIX"),
    tls: cert && key ? { cert, key } : undefined,
    reusePort: Boolean(env("REUSE_PORT")),
    limits: JSON.parse(env("LIMITS") ?? "{}"),
  })
    .catch((error: Error) => {
      emit("serve refused", { error: error.message });
      throw error;
    });
  const second = env("SECOND_SERVER")
    ? await serve(app, { hostname, port: 0, shutdown })
    : undefined;
  setTimeout(() => stepClock("serving"), 100);
  emit("listening", {
    url: server.url,
    port: server.port,
    second: second?.port,
    pid: process.pid,
  });
}

const signals = env("SIGNALS");
if (env("NO_RUN")) await start();
const report = env("NO_RUN")
  ? await shutdown.finished
  : await run(shutdown, start, signals ? { signals: signals.split(",") } : {});
if (env("LINGERS_MS")) await delay(ms("LINGERS_MS", 0));
if (!env("NO_EXIT")) await runtime.exit(report.exitCode);
