import { Hono } from "hono";
import type { ShutdownController } from "./shutdown.ts";

export interface CheckResult {
  ok: boolean;
  ms: number;
  error?: string;
}

interface Check {
  name: string;
  timeout: number;
  run: (signal: AbortSignal) => unknown;
  wasOk: boolean;
}

/** What must work for this server to be of use. */
export class Checks {
  readonly #shutdown: ShutdownController;
  readonly #checks: Check[] = [];
  #underWay: Promise<Record<string, CheckResult>> | undefined;

  constructor(shutdown: ShutdownController) {
    this.#shutdown = shutdown;
  }

  /**
   * A check fails when it throws, or has not ended after `timeout`
   * milliseconds; its signal aborts then.
   */
  add(
    name: string,
    run: (signal: AbortSignal) => unknown,
    { timeout = 1_000 }: { timeout?: number } = {},
  ): void {
    this.#checks.push({ name, timeout, run, wasOk: true });
  }

  /** Runs them all at once. Who asks meanwhile gets the same answer. */
  run(): Promise<Record<string, CheckResult>> {
    return this.#underWay ??= Promise.all(
      this.#checks.map(async (check) =>
        [check.name, await this.#run(check)] as const
      ),
    ).then((results) => {
      this.#underWay = undefined;
      return Object.fromEntries(results);
    });
  }

  async #run(check: Check): Promise<CheckResult> {
    const { name, timeout, run } = check;
    const { clock, log } = this.#shutdown;
    const began = clock.now();
    const over = new AbortController();
    let late = () => {};
    const cancel = clock.after(timeout, () => late());
    const result: CheckResult = { ok: true, ms: 0 };
    try {
      await Promise.race([
        // In a function of its own, so that a throw is a rejection.
        (async () => await run(over.signal))(),
        new Promise<never>((_, reject) =>
          late = () => {
            const error = new Error(`not done after ${timeout} ms`);
            over.abort(error);
            reject(error);
          }
        ),
      ]);
    } catch (error) {
      result.ok = false;
      result.error = error instanceof Error ? error.message : String(error);
    } finally {
      cancel();
    }
    result.ms = Math.round(clock.now() - began);
    // The public is not told why, and a balancer asks every second: the log
    // has it once.
    if (result.ok !== check.wasOk) {
      check.wasOk = result.ok;
      const { error } = result;
      log(
        result.ok
          ? { level: "info", message: "check recovered", name }
          : { level: "warn", message: "check failed", name, error },
      );
    }
    return result;
  }
}

export interface HealthOptions {
  checks?: Checks;
  /** Say which checks fail, and why: for a port that the public cannot reach. */
  detail?: boolean;
}

/**
 * `/livez` is 200 for as long as the process answers. `/readyz` is 200 while
 * serving with every check passed, and 503 otherwise: red from the very moment
 * a shutdown begins, so that a balancer can turn away before anything closes.
 */
export function health(
  shutdown: ShutdownController,
  { checks, detail = false }: HealthOptions = {},
): Hono {
  const app = new Hono();
  app.get("/livez", (c) => {
    c.header("Cache-Control", "no-store");
    return c.json({ status: "live" });
  });
  app.get("/readyz", async (c) => {
    c.header("Cache-Control", "no-store");
    // While not serving, nothing a check could say would make it ready.
    const results = shutdown.phase === "serving" && checks
      ? await checks.run()
      : {};
    // Looked at again: the shutdown may have begun meanwhile.
    const { phase } = shutdown;
    const failing = Object.values(results).some(({ ok }) => !ok);
    const status = phase === "serving" && failing ? "failing" : phase;
    const body = detail ? { status, checks: results } : { status };
    return c.json(body, status === "serving" ? 200 : 503);
  });
  return app;
}
