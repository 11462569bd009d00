/**
 * A pool of kept connections that is never at rest, as a proxy's is: each client
 * sends its next request as soon as the last answer is whole. Every answer is a
 * stream whose head was out before the signal, and so could not say
 * `Connection: close`: the client sends one more in good faith, and has to get
 * its answer.
 *
 * 5 restarts; `ROUNDS=60` for 20, `SEED=…` to repeat one.
 */
import { after, test } from "node:test";
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { delay, endedClean, saysClose } from "../support/expect.ts";
import { Cut, RawClient, text } from "../support/raw_client.ts";
import { makeCertificate } from "../support/certificate.ts";
import {
  type Env,
  killAll,
  removeScratch,
  runtime,
  startFixture,
} from "../support/server_process.ts";
import { seeded } from "../support/seeded.js";

/** Each takes as long as three rounds of the soak. */
const restarts = Math.ceil(Number(process.env.ROUNDS || 15) / 3);
const seed = Number(process.env.SEED || Date.now() % 1_000_000);
const CLIENTS = 30;

const pools = new Set<Pool>();

after(() => {
  for (const pool of pools) pool.stop();
  killAll();
  removeScratch();
});

/** Clients that outlive the servers. */
class Pool {
  answered = 0;
  /** Sent on a connection that was kept, and not answered whole. */
  readonly lost: string[] = [];
  /** Connections that ended before their first answer: the accept queue's. */
  turnedAway = 0;
  #url: Promise<string>;
  #show!: (url: string) => void;
  #stopped = false;

  constructor(
    private readonly random: () => number,
    private readonly longest: number,
  ) {
    pools.add(this);
    this.#url = new Promise((resolve) => this.#show = resolve);
  }

  listens(url: string): void {
    this.#show(url);
  }

  /** Whoever finds nobody from now on waits for the next one. */
  leaves(): void {
    this.#url = new Promise((resolve) => this.#show = resolve);
  }

  stop(): void {
    this.#stopped = true;
    this.#show("");
  }

  async run(): Promise<void> {
    for (let url = await this.#url; !this.#stopped; url = await this.#url) {
      let client: RawClient;
      try {
        client = await RawClient.dial(url);
      } catch {
        await delay(20); // it has closed, and nobody has said so yet
        continue;
      }
      await this.#use(client);
      client.leave();
    }
  }

  async #use(client: RawClient): Promise<void> {
    for (let kept = 0; !this.#stopped; kept++) {
      const drops = this.#between(1, 8);
      const pause = this.#between(1, this.longest / drops);
      const sentAt = performance.now();
      try {
        const response = await client.get(`/drip?n=${drops}&ms=${pause}`);
        assertEquals(response.status, 200);
        assertEquals(text(response).match(/drop/g)?.length, drops);
        this.answered++;
        if (saysClose(response)) return;
      } catch (error) {
        if (kept === 0 && error instanceof Cut) this.turnedAway++;
        else {
          const after = (performance.now() - sentAt).toFixed(1);
          const { message } = error as Error;
          this.lost.push(`${after} ms after ${kept} answers: ${message}`);
        }
        return;
      }
    }
  }

  #between(low: number, high: number): number {
    return low + Math.floor(this.random() * (high - low + 1));
  }
}

function restartsUnder(what: string, longest: number, env: Env): void {
  test(
    `${restarts} restarts under ${CLIENTS} clients that ask for ${what} lose none on a kept connection`,
    {
      timeout: 20_000 + restarts * 8_000,
    },
    async () => {
      const random = seeded(seed);
      const pool = new Pool(random, longest);
      const clients = Array.from({ length: CLIENTS }, () => pool.run());
      let port = 0;
      const whole: number[] = [];
      for (let n = 0; n < restarts; n++) {
        const server = await startFixture({ PORT: port, ...env });
        port = server.port;
        const before = pool.answered;
        pool.listens(server.url);
        await delay(longest + 200 + 400 * random());
        server.signal("SIGTERM");
        await server.logged("listener closed");
        pool.leaves();
        await endedClean(server);
        whole.push(pool.answered - before);
      }
      pool.stop();
      await Promise.all(clients);
      const verdict = `${what} on ${runtime}, SEED=${seed}: ` +
        `${pool.answered} answered in ${restarts} restarts, ` +
        `${pool.turnedAway} new connections that nobody took, ` +
        `${pool.lost.length} lost on kept connections`;
      console.log(verdict);
      assertEquals(pool.lost, [], verdict);
      assert(Math.min(...whole) >= 2 * CLIENTS, `hardly asked: ${whole}`);
    },
  );
}

const { cert, key } = makeCertificate();
// The last of the streams that were under way may take longer than the grace;
// while others end, Deno and Bun go on waiting.
restartsUnder("streams", 500, { IDLE_GRACE_MS: 150 });
restartsUnder("streams over TLS", 200, {
  IDLE_GRACE_MS: 250,
  TLS_CERT: cert,
  TLS_KEY: key,
});
