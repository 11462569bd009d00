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
 * BAD_HEADER           "/bad" is answered with a header that HTTP cannot carry
 * STALLS               the signal stops its loop until it is typed to
 * NO_RUN               `serve` alone, without `run` around it
 * NO_EXIT              no explicit exit at the end
 * LINGERS_MS           something holds the process for so long after the end
 * NOISE_BYTES, NOISE_TO=console|stdout|stderr     written by the last hook
 * THROWS="inFlight,close"   what the controller asks of a server throws
 * STORE                the file of what POST /store has acknowledged
 * ABRUPT               a bad server on purpose: SIGTERM ends it on the spot
 * BAD="sockets,echoes,streams,events,store"   bad ones on purpose, see `isBad`
 * BLIND=requestIP|requestIP:stays|pendingRequests   what Bun no longer tells
 * CLOCK_STEP_MS, CLOCK_STEP_AT=serving|draining|closing   somebody sets the clock
 */
import { createHash } from "node:crypto";
import { readFileSync, readSync, writeFileSync } from "node:fs";
import { ServerResponse } from "node:http";
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
} from "#lastcall";

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

/**
 * What the soak has to notice. `sockets` are closed without the reason, `echoes`
 * come too late, `streams` break off, `events` end without the last one, and
 * `store` forgets.
 */
const isBad = (what: string) => env("BAD")?.split(",").includes(what) ?? false;

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

/** As if the bookkeeping of a runtime's file were broken. */
class Broken extends ShutdownController {
  override attach(
    ...[server, sockets]: Parameters<ShutdownController["attach"]>
  ): void {
    const { hostname, port } = server;
    // A wrapper: what a listener asks of itself goes on working.
    const listener: typeof server = {
      hostname,
      port,
      inFlight: () => server.inFlight(),
      countAnswers: () => server.countAnswers(),
      answered: () => server.answered(),
      close: (idleGrace) => server.close(idleGrace),
      cut: () => server.cut(),
    };
    for (const name of env("THROWS")?.split(",") ?? []) {
      const broken = () => {
        throw new Error(`${name} is broken`);
      };
      if (name === "openSockets") {
        Object.defineProperty(sockets, "size", { get: broken });
      } else Object.assign(listener, { [name]: broken });
    }
    super.attach(listener, sockets);
  }
}

const shutdown = new Broken({
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

/** A status and headers that may be no good. */
const headAsTold = (c: Context) =>
  new Response("as told", {
    status: query(c, "status", 200),
    headers: JSON.parse(c.req.query("headers") ?? "{}"),
  });

const app = new Hono();
/** Echoes; told to flood, it sends 6.5 MB and then "flooded". */
app.get(
  "/ws",
  upgradeWebSocket(() => ({
    onOpen(_, socket) {
      emit("socket opened");
      socket.send("welcome");
      if (isBad("sockets")) {
        shutdown.signal.addEventListener("abort", () => socket.close(1000));
      }
    },
    onMessage({ data }, socket) {
      if (isBad("echoes")) {
        return void setTimeout(() => socket.send(`echo ${data}`), 600);
      }
      if (data !== "flood") return socket.send(`echo ${data}`);
      for (let n = 0; n < 100; n++) socket.send("x".repeat(65_536));
      socket.send("flooded");
      emit("flooded");
    },
    onClose: ({ code }) => emit("socket closed", { code }),
  })),
);
sockets(app);
// These come before the middleware: their answers are synchronous.
app.on(["GET", "POST"], "/", (c) => c.text("hello"));
app.get("/head-now", (c) => headAsTold(c));
app.get("/url", (c) => c.json([c.req.url, c.req.header("host") ?? ""]));
app.route("/", health(shutdown));
// So do these: nothing is printed for each of thousands of requests.
let hanging = 0;
app.get("/hang", () => {
  if (hanging++ === 0) emit("hanging");
  return forever();
});
app.get("/pause", async (c) => {
  await delay(query(c, "ms", 1));
  return c.text("paused");
});

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
app.get("/head", (c) => headAsTold(c));
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
        if (isBad("streams") && shutdown.signal.aborted) {
          return controller.error(new Error("a bad stream"));
        }
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
      cancel() {
        clearInterval(timer);
        emit("nobody reads");
      },
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
    isBad("events")
      ? withoutLastEvent(c)
      : eventStream(c, shutdown, async (stream, over) => {
        await stream.writeSSE({ event: "hello", data: "1" });
        await aborted(over);
      }, { heartbeat: query(c, "heartbeat", 15_000) }),
);
/** Says in which phase it is, until it is over. */
app.get(
  "/phases",
  (c) =>
    eventStream(c, shutdown, async (stream, over) => {
      while (!over.aborted) {
        await stream.writeSSE({ data: shutdown.phase });
        await delay(20);
      }
      emit("stream over", { phase: shutdown.phase });
    }),
);
/** An answer that is written word by word. */
app.get(
  "/answer",
  (c) =>
    eventStream(c, shutdown, async (stream) => {
      for (let word = 1; word <= 10; word++) {
        await stream.writeSSE({ data: `word ${word}` });
        await delay(100);
      }
    }, { onShutdown: "finish" }),
);

function withoutLastEvent(c: Context): Response {
  return streamSSE(c, async (stream) => {
    await stream.writeSSE({ event: "hello", data: "1" });
    await aborted(shutdown.signal);
  });
}

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
          const base = location.origin.replace("http", "ws");
          const socket = new WebSocket(base + "/ws");
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
        const [page] = performance.getEntriesByType("navigation");
        report({ what: "loaded", protocol: page.nextHopProtocol });
        connect();
        const events = new EventSource("/stream");
        for (const type of ["hello", "shutdown"]) {
          events.addEventListener(type, ({ data }) => report({ what: type, data }));
        }
      </script>
  `));

const count = async (c: Context) =>
  c.text(String((await c.req.arrayBuffer()).byteLength));
/** Read as it comes. */
const sum = async (c: Context) => {
  const hash = createHash("sha256");
  for await (const chunk of c.req.raw.body!) hash.update(chunk);
  return c.text(hash.digest("hex"));
};
app.post("/upload", count);
app.post("/sum", sum);
app.post("/limited/upload-late", async (_, next) => {
  await delay(500);
  await next();
});
app.use("/limited/*", bodyLimit(1_000_000));
app.post("/limited/upload", count);
app.post("/limited/sum", sum);
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
app.post("/early-touched", async (c) => {
  await c.req.raw.body!.getReader().read();
  return c.text("read a little");
});
app.post("/early-big", (c) => c.body(pattern(megabytes(c, 2))));

/** Node's own objects, under the prototypes that Express gives them. */
app.get("/express", (c) => {
  const { incoming, outgoing } = c.env as Record<string, object>;
  const names = [incoming, outgoing].map((one) => one!.constructor.name);
  Object.setPrototypeOf(outgoing, Object.create(ServerResponse.prototype));
  (outgoing as ServerResponse).end(names.join());
  return forever();
});
if (env("STORE")) serveStore(env("STORE")!);

/**
 * Acknowledges what it has in memory only, and writes it when it is closed: so
 * nothing may be acknowledged after that, and nothing may end the process before.
 */
function serveStore(file: string): void {
  const keys = new Set(readFileSync(file, "utf8").split("\n"));
  let isClosed = false;
  shutdown.onClose("store", async () => {
    await delay(10);
    isClosed = true;
    if (!isBad("store")) writeFileSync(file, [...keys].join("\n"));
  });
  app.post("/store", async (c) => {
    const key = await c.req.text();
    if (isClosed) return c.text("the store is closed", 500);
    keys.add(key);
    return c.text(key);
  });
  app.get("/store", (c) => c.text([...keys].join("\n")));
}

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
  c.executionCtx.waitUntil(work.then(() => emit("context waited")));
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

/** WebSockets that misbehave, or whose clients do. */
function sockets(app: Hono): void {
  /** Throws, or rejects, in the handler that the path names. */
  app.get(
    "/ws/throws/:where/:how",
    upgradeWebSocket((c) => {
      const { where, how } = c.req.param();
      const handle = (here: string) => {
        emit("socket event", { where: here });
        if (where !== here) return;
        const error = new Error(`thrown in ${where}`);
        if (how === "later") return delay(1).then(() => Promise.reject(error));
        throw error;
      };
      if (where === "factory") {
        const error = new Error("thrown in the factory");
        if (how === "later") return Promise.reject(error);
        throw error;
      }
      return {
        onOpen: (_, socket) => {
          socket.send("welcome");
          return handle("onOpen");
        },
        onMessage: () => handle("onMessage"),
        onClose: () => handle("onClose"),
        onError: () => handle("onError"),
      };
    }),
  );
  /** Upgrades, and then something goes wrong on the way out. */
  app.use("/ws/then/:what", async (c, next) => {
    const what = c.req.param("what");
    if (what === "timeout") {
      await Promise.race([next(), delay(0)]);
      throw new HTTPException(504, { message: "too late" });
    }
    await next();
    if (what === "throw") throw new Error("thrown after the upgrade");
    if (what === "answer") c.res = new Response("another", { status: 403 });
    // No Error: nobody catches it, not even Hono.
    if (what === "reject") return Promise.reject("no error at all");
  });
  const echo = upgradeWebSocket((c) => ({
    onOpen: (_, socket) => socket.send("welcome"),
    onMessage: ({ data }, socket) => {
      if (data === "who?") {
        const { method, path } = c.req;
        socket.send(`${method} ${path} ${c.req.header("host")} ${c.req.url}`);
      }
      socket.send(data as string | ArrayBuffer);
    },
    onClose: ({ code }) => emit("socket closed", { code }),
  }));
  app.get("/ws/then/:what", echo);
  app.get("/ws/echo", echo);
  /** Sends 400 MB, as a client takes it or not. */
  app.get(
    "/ws/pushes",
    upgradeWebSocket(() => ({
      async onOpen(_, socket) {
        socket.send("welcome");
        const piece = new Uint8Array(40_000);
        for (let n = 0; n < 10_000; n++) {
          socket.send(piece);
          if (n % 50 === 49) await delay(1);
        }
        socket.send("all of it");
        emit("pushed");
      },
    })),
  );
  app.get(
    "/ws/origins",
    upgradeWebSocket(() => {
      emit("events made");
      return { onOpen: (_, socket) => socket.send("welcome") };
    }, { origins: ["https://app.example"] }),
  );
  app.get(
    "/ws/any-origin",
    upgradeWebSocket(() => ({
      onOpen: (_, socket) => socket.send("welcome"),
    }), { origins: ["*"] }),
  );
  app.get("/sockets", (c) => c.json({ open: shutdown.openSockets }));
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
  const answersBadly = (request: Request, second: unknown) =>
    request.url.endsWith("/bad")
      ? new Response("no", { headers: { "X-Bad": "a\x01b" } })
      : app.fetch(request, second as object);
  const fetch = env("FAILS")
    ? fails
    : env("BAD_HEADER")
    ? answersBadly
    : app.fetch;
  const server = await serve({ fetch }, {
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
