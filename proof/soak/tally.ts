/** What became of everything that was asked, by kind, and what may not be. */
import { runtime } from "../support/server_process.ts";

/**
 * The first three are requests, by what carried them; the others go by
 * themselves, whatever carries them. An echo is a message of a WebSocket.
 */
export const kinds = [
  "HTTP/1.1",
  "TLS",
  "HTTP/2",
  "WebSocket",
  "echo",
  "event stream",
  "store",
] as const;
export type Kind = typeof kinds[number];

export interface Counts {
  /**
   * Whole. A WebSocket's answer is its close with 1001 and the reason, an event
   * stream's its last event and its end.
   */
  answered: number;
  /** ... of them, those in flight when the signal came. */
  inFlight: number;
  /** ... of them, those sent after the signal. */
  afterSignal: number;
  /** Answered 503 with Retry-After while Deno holds its stop. */
  refused: number;
  /** Its stream came after the last that the server's GOAWAY names. */
  unprocessed: number;
  /** Lost on a new connection within `LAST_MOMENT` before the closing. */
  unaccepted: number;
  /** Lost on a connection at rest within `LAST_MOMENT` before the closing. */
  crossed: number;
  /**
   * Deno's: a client answers GOAWAY with GOAWAY, at which Deno closes the
   * connection, and with it what has come in the same moment.
   */
  dropped: number;
  /**
   * Deno's: a message comes while the WebSocket is being closed, at which Deno
   * drops the connection, and with it the reason.
   */
  interrupted: number;
  /** Lost, but sent when the connection could no longer be counted on. */
  raced: number;
  /** Lost, and nothing excuses it. */
  lost: number;
}

export interface Tally {
  rounds: number;
  byKind: Record<Kind, Counts>;
  /** From the last byte to the end of the process: the slowest, in ms. */
  slowestEnd: number;
  /** Everything that must not be, one sentence each. */
  failures: string[];
}

export function newTally(rounds: number): Tally {
  const none = (): Counts => ({
    answered: 0,
    inFlight: 0,
    afterSignal: 0,
    refused: 0,
    unprocessed: 0,
    unaccepted: 0,
    crossed: 0,
    dropped: 0,
    interrupted: 0,
    raced: 0,
    lost: 0,
  });
  const byKind = Object.fromEntries(
    kinds.map((kind) => [kind, none()]),
  ) as Tally["byKind"];
  return { rounds, byKind, slowestEnd: 0, failures: [] };
}

/** Of all kinds together. */
export function total({ byKind }: Tally, count: keyof Counts): number {
  return kinds.reduce((sum, kind) => sum + byKind[kind][count], 0);
}

export function describe(tally: Tally, seed: number): string {
  const { rounds, byKind, slowestEnd, failures } = tally;
  const lines = kinds.map((kind) => {
    const counts = Object.entries(byKind[kind])
      .filter(([name, count]) => count > 0 || /answered|lost/.test(name))
      .map(([name, count]) => `${name} ${count}`);
    return `  ${kind.padEnd(13)} ${counts.join(", ")}`;
  });
  return [
    `The soak on ${runtime}, SEED=${seed}: ${rounds} rounds, slowest end ` +
    `${slowestEnd.toFixed(0)} ms, failures ${failures.length}`,
    ...lines,
    ...failures.slice(0, 20).map((failure) => `  ${failure}`),
  ].join("\n");
}
