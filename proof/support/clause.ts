/**
 * `clause("D5", "a request in flight …", async (c) => { … })` is one test. At
 * the end the matrix of this runtime is printed, and written as JSON for
 * lastcall/CONTRACT.md: `<LASTCALL_LABEL> <id>.json` in LASTCALL_MATRIX_DIR.
 */
import { after, test } from "node:test";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { killAll, removeScratch, runtime } from "./server_process.ts";

/** Nothing takes half as long, unless it is stuck. */
const STEP_LIMIT = 15_000;
const CLAUSE_LIMIT = 90_000;

export interface Clause {
  /** One hard case of the clause; a failure carries its name. */
  step(name: string, run: () => Promise<void>, limit?: number): Promise<void>;
  /** A documented difference of this runtime, for the matrix. */
  note(text: string): void;
  /** A number worth printing beside the clause. */
  measured(text: string): void;
}

interface Row {
  clause: string;
  title: string;
  ok: boolean;
  skipped: boolean;
  note?: string;
}

const rows: (Row & { numbers: string[] })[] = [];

export class Skip extends Error {}

/** Bun evaluates this module once for all files, the others once for each. */
let isToBeSettled = false;

export function clause(
  name: string,
  title: string,
  run: (clause: Clause) => Promise<void>,
): void {
  if (!isToBeSettled) after(settle);
  isToBeSettled = true;
  test(`${name} ${title}`, { timeout: CLAUSE_LIMIT + 5_000 }, async (t) => {
    const notes: string[] = [];
    const row: (typeof rows)[number] = {
      clause: name,
      title,
      ok: false,
      skipped: false,
      numbers: [],
    };
    rows.push(row);
    const failures: Error[] = [];
    try {
      await bounded(
        CLAUSE_LIMIT,
        run({
          // The steps after a failed one still tell something.
          async step(name, run, limit = STEP_LIMIT) {
            try {
              await bounded(limit, run());
            } catch (error) {
              if (error instanceof Skip) throw error;
              const { message } = error as Error;
              failures.push(new Error(`${name}: ${message}`, { cause: error }));
            } finally {
              killAll();
            }
          },
          note: (text) => void (notes.includes(text) || notes.push(text)),
          measured: (text) => void row.numbers.push(text),
        }),
      );
      if (failures.length > 1) {
        const messages = failures.map(({ message }) => `- ${message}`);
        throw new AggregateError(failures, "\n" + messages.join("\n"));
      }
      if (failures[0]) throw failures[0];
      row.ok = true;
    } catch (error) {
      if (!(error instanceof Skip)) throw error;
      row.skipped = true;
      notes.push(error.message);
      t.skip(error.message);
    } finally {
      killAll();
      if (notes.length) row.note = notes.join("; ");
    }
  });
}

async function bounded(limit: number, work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`still not over after ${limit / 1000} s`)),
      limit,
    );
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Once per test file: its part of the matrix. */
function settle(): void {
  removeScratch();
  const label = process.env.LASTCALL_LABEL || runtime;
  isToBeSettled = false;
  const settled = rows.splice(0);
  const lines = settled.flatMap((
    { clause, title, ok, skipped, note, numbers },
  ) => [
    `  ${clause}  ${
      skipped ? "skipped" : ok ? "ok     " : "FAILED "
    }  ${title}`,
    ...(note ? [`               note: ${note}`] : []),
    ...numbers.map((number) => `               ${number}`),
  ]);
  const kept = settled.filter(({ ok }) => ok).length;
  console.log(
    [
      `\nThe contract on ${label}: ${kept} of ${settled.length} clauses`,
      ...lines,
    ]
      .join("\n"),
  );
  const dir = process.env.LASTCALL_MATRIX_DIR;
  if (!dir) return;
  fs.mkdirSync(dir, { recursive: true });
  const json = settled.map(({ numbers: _, ...row }): Row => row);
  fs.writeFileSync(
    path.join(dir, `${label} ${crypto.randomUUID()}.json`),
    JSON.stringify(json, null, 2) + "\n",
  );
}
