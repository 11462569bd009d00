import type { Hono } from "hono";
import type { Output, Server, ShutdownController } from "#lastcall";

/** How often what is in flight is looked at, in milliseconds. */
const LOOK = 100;
/** To the start of the line above, and everything below it away. */
const ERASE = "\x1b[1A\r\x1b[J";
/** A line that wrapped could not be erased by going up one. */
const [NO_WRAP, WRAP] = ["\x1b[?7l", "\x1b[?7h"];

/** A terminal with a person before it. */
export class Console {
  readonly #output: Output;
  /** The line that stays at the bottom, below whatever is printed. */
  #status = () => "";
  #drawn = "";

  constructor(output: Output) {
    this.#output = output;
  }

  /** For `openLog`. */
  readonly print: Output["write"] = (lines, describeLost) => {
    const erase = this.#drawn ? ERASE : "";
    this.#drawn = this.#status();
    const below = this.#drawn && `\n${NO_WRAP}${this.#drawn}${WRAP}`;
    this.#output.write(erase + lines + below, describeLost);
  };

  /** What was started, and where to find it. */
  greet({ url, runtime }: Server, { routes }: Pick<Hono, "routes">): void {
    const seen = new Set(
      routes.filter(({ method }) => method !== "ALL")
        .map(({ method, path }) => `    ${method.padEnd(6)} ${path}`),
    );
    const title = `  ${url} on ${runtime}`;
    this.print(
      ["", title, "", ...seen, "", "  Ctrl-C stops it.", ""].join("\n"),
    );
  }

  /** During a drain: what is still in flight, and what can be done about it. */
  follow(shutdown: ShutdownController): void {
    shutdown.signal.addEventListener("abort", () => {
      // Not at once: most drains are over before anybody could read it.
      const timer = setInterval(() => {
        this.#status = () => statusOf(shutdown);
        this.#redraw();
      }, LOOK);
      shutdown.finished.then(() => clearInterval(timer));
    });
  }

  #redraw(): void {
    const status = this.#status();
    if (!status || status === this.#drawn) return;
    this.#output.write(`${this.#drawn && ERASE}${NO_WRAP}${status}${WRAP}`);
    this.#drawn = status;
  }
}

function statusOf(
  { phase, inFlight, openSockets }: ShutdownController,
): string {
  // The report is the last line.
  if (phase === "closed") return "";
  const left = phase === "cleanup"
    ? []
    : [count(inFlight, "request"), count(openSockets, "WebSocket")]
      .filter(Boolean);
  return left.length > 0
    ? `  Waiting for ${left.join(" and ")}. Ctrl-C again cuts it short.`
    : "  Closing what was opened. Ctrl-C again waits no longer.";
}

function count(n: number, what: string): string {
  return n === 0 ? "" : `${n} ${what}${n === 1 ? "" : "s"}`;
}
