/**
 * Shutdowns at random moments under mixed load. Not one response may be missing
 * or cut whose request was wholly sent before the listener closed; no WebSocket
 * may end without its reason, no event stream without its last event, and what
 * a store has acknowledged is there when the next server opens it.
 *
 * A round is one server, its load and one signal, in one of three scenes: plain
 * HTTP/1.1, the same over TLS, and both HTTP versions over TLS.
 *
 * "Wholly sent" is the moment the kernel had the last byte, seen from here;
 * "closed" is the time the server itself wrote into its log. Of what was sent
 * after that, only a request on a connection that was used within the idle
 * grace has a claim to an answer, and only on Node: Deno and Bun close listener
 * and idle connections together, after the grace. The rest counts as raced. Over
 * HTTP/2 the server says itself what it has taken: the streams up to the last
 * that its GOAWAY names have to be whole, and those after it may be sent again.
 *
 * Two races nobody can judge from outside. A connection of the last moment that
 * was never answered may still have been in the kernel's accept queue, which a
 * closing listener resets: it counts as unaccepted. And a request on a connection
 * at rest for longer than the grace may meet the end of that connection on the
 * wire, on Deno and Bun, where one call closes both and the log line follows a
 * turn or two of a busy loop later: it counts as crossed. There must be few.
 */
import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import { makeCertificate } from "../support/certificate.ts";
import { dial } from "../support/dial.ts";
import {
  Cut,
  isPattern,
  RawClient,
  requestBytes,
  text,
} from "../support/raw_client.ts";
import { RawHttp2 } from "../support/raw_http2.ts";
import { frame, RawWebSocket } from "../support/raw_websocket.ts";
import {
  type Env,
  killAll,
  runtime,
  scratchFolder,
  type ServerProcess,
  startFixture,
} from "../support/server_process.ts";
import { seeded } from "../support/seeded.js";
import { type Kind, newTally, type Tally } from "./tally.ts";

export interface SoakOptions {
  rounds: number;
  seed: number;
  /** Makes the server under test another one, to see whether it is noticed. */
  env?: Env;
}

/**
 * As long as a busy server may take to see a connection of the kernel's, or from
 * closing its connections to the line that says so. On Deno it was 29 ms where
 * the machine took the processor away; Node's line follows at once.
 */
const LAST_MOMENT = runtime === "node" ? 10 : 100;

/** How long a WebSocket's message may lie in the kernel before it is closed. */
const UNREAD = 250;

const delay = (ms: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Both sides' clocks in one: the server's log has wall-clock times. */
const wallClock = () => performance.timeOrigin + performance.now();

interface Body {
  chunks: Uint8Array[];
  whole: boolean;
}

interface Request {
  /** Unless it goes by what carries it. */
  kind?: Kind;
  method: "GET" | "POST";
  path: string;
  /** Sent in pieces, with a pause between them. */
  body?: { text: string; pieces: number; pause: number };
  /** How long its client waits for the end, if it does not wait for ever. */
  patience?: number;
  isRight(body: Body): boolean;
}

interface Exchange {
  kind: Kind;
  what: string;
  /** When its connection had brought its last response, if it had any. */
  usedAt: number | undefined;
  /** When the request before it was sent: its server was not at rest yet. */
  busyAt: number;
  sentAt: number;
  endedAt: number;
  result: "answered" | "refused" | "unprocessed" | Loss;
}

interface Loss {
  how: string;
  /** Not a byte of an answer came. */
  unread: boolean;
  /** The server has said that it had taken this request. */
  taken?: boolean;
  excuse?: "dropped" | "interrupted";
}

/** Of a WebSocket that the server has closed. */
interface Message {
  text: string;
  sentAt: number;
  isEchoed: boolean;
}

const { cert, key } = makeCertificate();
const scenes = ["plain", "TLS", "HTTP/2"] as const;

export async function soak(
  { rounds, seed, env = {} }: SoakOptions,
): Promise<Tally> {
  const tally = newTally(rounds);
  const store = new Store(seed);
  for (let round = 0; round <= rounds; round++) {
    try {
      // One more reads what the last round's has stored.
      if (round === rounds) await store.readAlone(tally, env);
      else await new Round(tally, seed + round, store, env).run();
    } catch (error) {
      tally.failures.push(`seed ${seed + round}: ${(error as Error).message}`);
    } finally {
      killAll();
    }
  }
  return tally;
}

/** What all servers of a soak keep, one after the other. */
class Store {
  readonly acknowledged = new Set<string>();
  readonly file: string;
  #keys = 0;

  constructor(seed: number) {
    const folder = fs.mkdtempSync(path.join(scratchFolder(), "store-"));
    this.file = path.join(folder, `${seed}.txt`);
    fs.writeFileSync(this.file, "");
  }

  nextKey(): string {
    return `key${++this.#keys}`;
  }

  /** What was acknowledged by the servers before this one has to be there. */
  async check(server: ServerProcess, tally: Tally, seed: string) {
    const client = await server.connect();
    const stored = new Set(text(await client.get("/store")).split("\n"));
    client.leave();
    for (const key of this.acknowledged) {
      if (stored.has(key)) continue;
      tally.byKind.store.lost++;
      tally.failures.push(
        `${seed}: store: ${key} was acknowledged and is gone after the restart`,
      );
      this.acknowledged.delete(key); // once is enough
    }
  }

  async readAlone(tally: Tally, env: Env): Promise<void> {
    const server = await startFixture({ ...env, STORE: this.file });
    await this.check(server, tally, "the last");
  }
}

/** One server, its load, one signal. */
class Round {
  readonly #random: () => number;
  readonly #exchanges: Exchange[] = [];
  readonly #messages: Message[] = [];
  readonly #refusedAt: number[] = [];
  readonly #open = new Set<{ leave(): void }>();
  readonly #scene: typeof scenes[number];
  #server!: ServerProcess;
  #signalAt = Infinity;
  #lastByteAt = 0;

  constructor(
    private readonly tally: Tally,
    private readonly seed: number,
    private readonly store: Store,
    private readonly env: Env,
  ) {
    this.#random = seeded(seed);
    this.#scene = scenes[seed % scenes.length]!;
  }

  async run(): Promise<void> {
    const idleGrace = this.#between(100, 250);
    const drainDelay = this.#random() < 0.25 ? 150 : 0;
    // One that never closes its connection is given a second. Not always: others
    // may need the end to wait for them, and would not be seen to.
    const stubborn = this.#scene === "HTTP/2" && this.#random() < 0.5;
    const server = this.#server = await startFixture({
      IDLE_GRACE_MS: idleGrace,
      DRAIN_DELAY_MS: drainDelay,
      STORE: this.store.file,
      ...this.#scene === "plain" ? {} : { TLS_CERT: cert, TLS_KEY: key },
      ...this.env,
    });
    await this.store.check(server, this.tally, `seed ${this.seed}`);
    const load = Promise.all(
      this.#scene === "HTTP/2" ? this.#mixedLoad(stubborn) : this.#load(),
    );
    await delay(this.#between(30, 400));
    server.signal("SIGTERM");
    this.#signalAt = wallClock();
    const exit = await server.exited;
    await load;
    for (const client of this.#open) client.leave();

    const closed = server.printed("listener closed")[0]?.json?.time;
    const closedAt = closed ? Date.parse(String(closed)) : Infinity;
    this.#judge(closedAt, runtime === "node" ? idleGrace : 0, drainDelay);

    const exitAt = performance.timeOrigin + exit.at;
    const due = this.#signalAt + drainDelay + idleGrace;
    const took = exitAt - Math.max(this.#lastByteAt, due) -
      (stubborn ? 1000 : 0);
    this.tally.slowestEnd = Math.max(this.tally.slowestEnd, took);
    if (took > 1200) this.#fail(`the end took ${took.toFixed(0)} ms`);
    if (exit.code !== 0) this.#fail(`exit ${exit.code ?? exit.signal}`);
    const stderr = server.output("stderr");
    if (stderr) this.#fail(`stderr: ${stderr.slice(0, 300)}`);
    const { outcome, requests, errors } = server.report();
    if (outcome !== "clean") {
      const cut = requests.cut.map(({ path }) => path);
      this.#fail(`${outcome}, cut: ${cut}, errors: ${errors}`);
    }
  }

  #load(): Promise<void>[] {
    return [
      ...this.#times(6, () => this.#client(() => this.#hello(), 30)),
      ...this.#times(2, () => this.#client(() => this.#hello(), 600)),
      ...this.#times(3, () => this.#client(() => this.#hello(), 40, true)),
      ...this.#times(3, () => this.#client(() => this.#slow(), 30)),
      ...this.#times(3, () => this.#client(() => this.#stream(), 50)),
      ...this.#times(1, () => this.#client(() => this.#big(), 100)),
      ...this.#times(3, () => this.#client(() => this.#upload(300_000), 50)),
      ...this.#times(2, () => this.#client(() => this.#write(), 20)),
      ...this.#times(3, () => this.#client(() => this.#events(), 100)),
      ...this.#times(3, () => this.#webSocket()),
    ];
  }

  #mixedLoad(stubborn: boolean): Promise<void>[] {
    return [
      ...this.#times(2, () => this.#client(() => this.#hello(), 30)),
      ...this.#times(1, () => this.#client(() => this.#stream(), 50)),
      ...this.#times(1, () => this.#client(() => this.#events(), 100)),
      ...this.#times(1, () => this.#client(() => this.#write(), 20)),
      ...this.#times(2, () => this.#webSocket()),
      ...this.#times(3, () => this.#http2(true)),
      ...this.#times(stubborn ? 2 : 0, () => this.#http2(false)),
    ];
  }

  #judge(closedAt: number, idleGrace: number, drainDelay: number): void {
    for (const exchange of this.#exchanges) {
      const { kind, what, usedAt = 0, busyAt, sentAt, endedAt, result } =
        exchange;
      const counts = this.tally.byKind[kind];
      // One still busy when the listener closed closes after its response. The
      // server's idle time began with what it wrote, ours with what we read.
      const recent = usedAt <= closedAt && closedAt - busyAt < idleGrace;
      const due = closedAt + (recent ? idleGrace : 0);
      const afterSignal = sentAt > this.#signalAt;
      const loss = typeof result === "object" ? result : undefined;
      const isLast = sentAt > closedAt - LAST_MOMENT;
      const unread = loss?.unread && !loss.taken && isLast;
      if (result === "answered") {
        counts.answered++;
        if (afterSignal) counts.afterSignal++;
        else if (endedAt > this.#signalAt) counts.inFlight++;
      } else if (result === "refused" && afterSignal && runtime === "deno") {
        counts.refused++;
      } else if (result === "unprocessed" && endedAt > this.#signalAt) {
        counts.unprocessed++;
      } else if (loss && !loss.taken && sentAt > due) counts.raced++;
      else if (unread && !usedAt) counts.unaccepted++;
      else if (unread && runtime !== "node") counts.crossed++;
      else if (loss?.excuse === "dropped" && isLast) counts.dropped++;
      else if (loss?.excuse === "interrupted") counts.interrupted++;
      else {
        counts.lost++;
        const since = (moment: number) => (sentAt - moment).toFixed(1);
        const connection = usedAt
          ? `a connection idle for ${since(usedAt)} ms`
          : "a new connection";
        this.#fail(
          `${kind}: ${what} on ${connection}, sent ` +
            `${since(this.#signalAt)} ms after the signal and ` +
            `${since(closedAt)} after the listener closed: ` +
            `${loss?.how ?? result}`,
        );
      }
    }
    // Node and Bun close WebSockets when they have closed the listener, Deno
    // before that, and does not tell: after the drain delay at the earliest. On
    // a busy machine a server may not have read for a while what came before.
    const closing = Math.max(
      this.#signalAt + drainDelay,
      runtime === "deno" ? 0 : closedAt - UNREAD,
    );
    const counts = this.tally.byKind.echo;
    for (const { text, sentAt, isEchoed } of this.#messages) {
      if (isEchoed) {
        counts.answered++;
        if (sentAt > this.#signalAt) counts.afterSignal++;
      } else if (sentAt > closing) counts.raced++; // it met the close
      else {
        counts.lost++;
        const since = (moment: number) => (sentAt - moment).toFixed(1);
        this.#fail(
          `echo: ${text}, sent ${since(this.#signalAt)} ms after the signal ` +
            `and ${since(closedAt)} after the listener closed, was not echoed`,
        );
      }
    }
    for (const at of this.#refusedAt) {
      // The log line comes a little after the closing it speaks of.
      if (at < closedAt - LAST_MOMENT) {
        this.#fail("refused a connection while listening");
      }
    }
  }

  #fail(what: string): void {
    this.tally.failures.push(`seed ${this.seed} (${this.#scene}): ${what}`);
  }

  /** The default kind of what HTTP/1.1 carries. */
  get #kind(): Kind {
    return this.#scene === "plain" ? "HTTP/1.1" : "TLS";
  }

  #arrived(at: number): void {
    this.#lastByteAt = Math.max(this.#lastByteAt, performance.timeOrigin + at);
  }

  async #connect<Client extends { leave(): void; closed: Promise<unknown> }>(
    dial: (url: string) => Promise<Client>,
  ): Promise<Client | undefined> {
    try {
      const client = await dial(this.#server.url);
      this.#open.add(client);
      void client.closed.then(() => this.#open.delete(client));
      return client;
    } catch {
      this.#refusedAt.push(wallClock());
      return undefined;
    }
  }

  /**
   * Asks one thing after another, on a kept connection or on a new one each
   * time, until the server takes no more.
   */
  async #client(
    next: () => Request,
    longestThought: number,
    oneShot = false,
  ): Promise<void> {
    let client: RawClient | undefined;
    let busyAt = 0;
    while (true) {
      await delay(this.#between(0, longestThought));
      if (!client || client.ending) {
        client = await this.#connect((url) => RawClient.dial(url));
        if (!client) return;
        busyAt = 0;
      }
      busyAt = await this.#exchange(client, next(), busyAt);
      const last = client.responses.at(-1);
      const told = last?.headers.get("connection")?.toLowerCase() === "close";
      if (oneShot || told) {
        client.leave();
        client = undefined;
      }
    }
  }

  /** Resolves with the time at which the request was sent. */
  async #exchange(
    client: RawClient,
    request: Request,
    busyAt: number,
  ): Promise<number> {
    const last = client.responses.at(-1);
    const usedAt = last && performance.timeOrigin + last.lastByteAt;
    let sentAt = Infinity;
    const sent = sendInPieces(client, request).then((whole) => {
      if (whole) sentAt = wallClock();
    });
    let left = false;
    const leaving = request.patience && setTimeout(() => {
      left = true;
      client.leave();
    }, request.patience);
    let result: Exchange["result"];
    try {
      const response = await client.response();
      this.#arrived(response.lastByteAt);
      const { status, headers } = response;
      // Over HTTP/1.1 Deno refuses what brings a body, over HTTP/2 anything.
      const isRefused = request.method === "POST" && status === 503 &&
        headers.has("retry-after");
      result = isRefused
        ? "refused"
        : status === 200 && request.isRight(response)
        ? "answered"
        : { how: `${status} ${text(response).slice(0, 100)}`, unread: false };
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      // As far as one can tell from here.
      const unread = client.responses.every(({ whole }) => whole);
      result = { how: error.message, unread };
    }
    if (leaving) clearTimeout(leaving);
    await sent;
    if (!left) {
      this.#exchanges.push({
        kind: request.kind ?? this.#kind,
        what: describeRequest(request),
        usedAt,
        busyAt,
        sentAt,
        endedAt: wallClock(),
        result,
      });
    }
    return sentAt;
  }

  /**
   * Several things at a time on one connection. A polite client answers GOAWAY with
   * one of its own, as Node's and browsers do, asks no more on that connection
   * and closes it; a stubborn one asks once more, and leaves it open.
   */
  async #http2(polite: boolean): Promise<void> {
    while (true) {
      const client = await this.#connect((url) => RawHttp2.dial(url));
      if (!client) return;
      client.isPolite = polite;
      await Promise.all([
        this.#streams(client, () => this.#events()),
        this.#streams(client, () => this.#stream()),
        ...this.#times(3, () => this.#streams(client, () => this.#any(client))),
      ]);
      await client.closed;
    }
  }

  async #streams(client: RawHttp2, next: () => Request): Promise<void> {
    for (let isLast = false; !isLast && client.isOpen;) {
      await delay(this.#between(0, 60));
      isLast = client.goaways.length > 0;
      if (isLast && client.isPolite || !client.isOpen) return;
      await this.#exchangeStream(client, next());
    }
  }

  async #exchangeStream(client: RawHttp2, request: Request): Promise<void> {
    const { usedAt } = client;
    const { method, path, body } = request;
    const [first, ...others] = pieces(request);
    const stream = client.request(method, path, body && "");
    if (first !== undefined) {
      for (const piece of [first, ...others.slice(0, -1)]) {
        client.send(stream, piece);
        await delay(body?.pause ?? 0);
      }
      client.finish(stream, others.at(-1) ?? "");
    }
    const sentAt = wallClock();
    let result: Exchange["result"];
    try {
      const response = await client.response(stream);
      this.#arrived(response.lastByteAt);
      const { status } = response;
      result = status === 503
        ? "refused"
        : status === 200 && request.isRight(response)
        ? "answered"
        : { how: `${status} ${text(response).slice(0, 100)}`, unread: false };
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      const last = client.lastTaken;
      const how = `${error.message} (stream ${stream}, GOAWAY ${last})`;
      result = client.wasNotProcessed(stream) ? "unprocessed" : {
        how,
        unread: client.isUnread(stream),
        taken: last !== undefined,
        ...runtime === "deno" && client.isPolite && last !== undefined
          ? { excuse: "dropped" }
          : {},
      };
    }
    this.#exchanges.push({
      kind: request.kind ?? "HTTP/2",
      what: describeRequest(request),
      usedAt,
      busyAt: usedAt ?? 0,
      sentAt,
      endedAt: wallClock(),
      result,
    });
  }

  /** Talks until it is told that the server leaves, or leaves by itself. */
  async #webSocket(): Promise<void> {
    while (true) {
      await delay(this.#between(0, 100));
      let sentAt = wallClock();
      const record = (result: Exchange["result"]) =>
        void this.#exchanges.push({
          kind: "WebSocket",
          what: "its end",
          usedAt: undefined,
          busyAt: 0,
          sentAt,
          endedAt: wallClock(),
          result,
        });
      let socket: RawWebSocket | undefined;
      try {
        const connection = await dial(this.#server.url);
        sentAt = wallClock();
        socket = await RawWebSocket.over(connection, "/ws");
      } catch (error) {
        const { message, code } = error as Error & { code?: string };
        if (!code) record({ how: message, unread: /handshake/.test(message) });
        else this.#refusedAt.push(wallClock());
        return;
      }
      this.#open.add(socket);
      const isRestless = this.#random() < 0.2;
      const leavesAt = isRestless ? sentAt + this.#between(50, 300) : Infinity;
      let isClosed = false;
      const closed = socket.closed.then((closed) => {
        isClosed = true;
        return { ...closed, at: wallClock() };
      });
      const messages: { text: string; sentAt: number }[] = [];
      // Some say little and listen, as most clients do; others never stop.
      const most = this.#random() < 0.5 ? 3 : Infinity;
      while (!isClosed && wallClock() < leavesAt) {
        if (messages.length === most) {
          await (isRestless
            ? Promise.race([closed, delay(leavesAt - wallClock())])
            : closed);
          continue;
        }
        const text = `message ${messages.length}`;
        const message = { text, sentAt: Infinity };
        messages.push(message);
        // Bun's client may keep it for a turn of its loop.
        void socket.write(frame(1, text)).then((whole) => {
          if (whole) message.sentAt = wallClock();
        });
        await Promise.race([closed, delay(this.#between(1, 40))]);
      }
      if (!isClosed) {
        socket.leave();
        continue;
      }
      const { code, reason, how, at } = await closed;
      this.#open.delete(socket);
      this.#arrived(at - performance.timeOrigin);
      const interrupts = runtime === "deno" && code === 1006 &&
        messages.some(({ sentAt }) => sentAt > this.#signalAt);
      record(
        code === 1001 && reason === "server is shutting down" ? "answered" : {
          how: `closed with ${code} "${reason}" (${how})`,
          unread: false,
          ...interrupts ? { excuse: "interrupted" } : {},
        },
      );
      const arrived = new Set(socket.messages);
      for (const { text, sentAt } of messages) {
        const isEchoed = arrived.has(`echo ${text}`);
        this.#messages.push({ text, sentAt, isEchoed });
      }
    }
  }

  #get(path: string, isRight: Request["isRight"]): Request {
    return { method: "GET", path, isRight };
  }

  #hello(): Request {
    return this.#get("/", (body) => text(body) === "hello");
  }

  #slow(): Request {
    const path = `/slow?ms=${this.#between(20, 300)}`;
    return this.#get(path, (body) => text(body) === "slow but whole");
  }

  #stream(): Request {
    if (this.#random() < 0.3) {
      const right = (body: Body) => isPattern(body, 1_000_000);
      return this.#get("/big-stream?mb=1", right);
    }
    const drops = this.#between(2, 8);
    return this.#get(
      `/drip?n=${drops}&ms=${this.#between(5, 30)}`,
      (body) => text(body).match(/drop/g)?.length === drops,
    );
  }

  #big(): Request {
    return this.#get("/big?mb=3", (body) => isPattern(body, 3_000_000));
  }

  #upload(atMost: number): Request {
    const length = this.#between(1_000, atMost);
    const late = this.#random() < 0.3
      ? `-late?ms=${this.#between(5, 100)}`
      : "";
    return {
      method: "POST",
      path: `/upload${late}`,
      body: {
        text: "u".repeat(length),
        pieces: this.#between(1, 5),
        pause: this.#between(0, 30),
      },
      isRight: (body) => text(body) === String(length),
    };
  }

  #write(): Request {
    const key = this.store.nextKey();
    return {
      kind: "store",
      method: "POST",
      path: "/store",
      body: { text: key, pieces: 1, pause: 0 },
      isRight: (body) => {
        if (text(body) !== key) return false;
        this.store.acknowledged.add(key);
        return true;
      },
    };
  }

  /** Whole when the server leaves; some clients leave before. */
  #events(): Request {
    return {
      kind: "event stream",
      method: "GET",
      path: "/stream",
      ...this.#random() < 0.2 ? { patience: this.#between(50, 300) } : {},
      isRight: (body) =>
        /^event: hello\n[^]+event: shutdown\ndata: .+\nretry: \d+\n\n$/.test(
          text(body),
        ),
    };
  }

  /** What else one connection of HTTP/2 carries. */
  #any({ isPolite }: RawHttp2): Request {
    const make = [
      () => this.#hello(),
      () => this.#slow(),
      // Our client keeps no account of the server's window.
      () => this.#upload(8_000),
      () => this.#write(),
      // To a client that answers GOAWAY Deno loses what it has not taken yet of
      // a body from memory: its own, and documented.
      () => runtime === "deno" && isPolite ? this.#slow() : this.#big(),
    ];
    return make[this.#between(0, make.length - 1)]!();
  }

  #between(low: number, high: number): number {
    return low + Math.floor(this.#random() * (high - low + 1));
  }

  #times<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}

function describeRequest({ method, path, body }: Request): string {
  return `${method} ${path}` +
    (body ? ` of ${body.text.length} bytes in ${body.pieces} pieces` : "");
}

function pieces({ body }: Request): string[] {
  if (!body) return [];
  const size = Math.ceil(body.text.length / body.pieces);
  return Array.from(
    { length: body.pieces },
    (_, n) => body.text.slice(n * size, (n + 1) * size),
  );
}

async function sendInPieces(
  client: RawClient,
  { method, path, body }: Request,
): Promise<boolean> {
  if (!body) return await client.send(method, path);
  const bytes = requestBytes(method, path, { body: Buffer.from(body.text) });
  const size = Math.ceil(bytes.length / body.pieces);
  let whole = true;
  for (let at = 0; at < bytes.length; at += size) {
    if (at > 0) await delay(body.pause);
    whole = await client.write(bytes.subarray(at, at + size));
  }
  return whole;
}
