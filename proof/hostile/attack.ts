/**
 * `attack("CONNECT /", {}, async (target) => { … })` is one test: a server of
 * its own, the attack, the clients leave, and then the verdict. With TABLE=1 the
 * figures of all attacks of a file are printed as a table for each runtime.
 */
import { after, test } from "node:test";
import process from "node:process";
import { killAll, removeScratch, runtime } from "../support/server_process.ts";
import {
  DESCRIPTORS,
  type Figures,
  isSlowness,
  LATENCY,
  MB,
  Polite,
  Target,
  type TargetOptions,
  within,
} from "./target.ts";

export interface AttackOptions extends TargetOptions {
  /**
   * What the clients do in the end. Default: they leave, all comes back to where
   * it was, and the shutdown is clean. Or they stay, and the shutdown has to end
   * without them; "unserved" where it has to cut what they are owed.
   */
  clients?: "leave" | "stay" | "stay unserved";
  /** Other clients may lose their connection: a documented difference. */
  losesOthers?: boolean;
  /** Why it cannot be made here. */
  skip?: string;
  /** Error lines with a cause. */
  log?: RegExp;
}

interface Row {
  name: string;
  faults: string[];
  figures: Figures;
}

/** The longest attack, on a machine that has other things to do. */
const LIMIT = 30_000;
/** So often may the machine be too busy to tell whether the server is slow. */
const TRIES = 3;

const rows: Row[] = [];
let polite: Promise<Polite> | undefined;
let isToBeSettled = false;

export function attack(
  name: string,
  options: AttackOptions,
  run: (target: Target) => Promise<void>,
): void {
  if (!isToBeSettled) after(settle);
  isToBeSettled = true;
  test(name, { timeout: 115_000 }, async (t) => {
    if (options.skip) return t.skip(options.skip);
    let row: Row;
    let tries = 0;
    do row = await once(name, options, run); while (
      ++tries < TRIES && row.faults.length > 0 && row.faults.every(isSlowness)
    );
    rows.push(row);
    if (row.faults.length > 0) {
      throw new Error(row.faults.map((fault) => `\n- ${fault}`).join(""));
    }
  });
}

async function once(
  name: string,
  options: AttackOptions,
  run: (target: Target) => Promise<void>,
): Promise<Row> {
  const { clients = "leave" } = options;
  const other = await (polite ??= Polite.start());
  const target = await Target.start(options);
  const { faults, figures } = target;
  try {
    other.begin(target);
    await within(LIMIT, run(target)).catch(async (error: Error) => {
      if (await target.serves()) faults.push(error.message);
    });
    await target.serves();
    // That they leave all at once is for others to bear too.
    if (clients === "leave") target.leaveAll();
    await other.stop(target, options.losesOthers);
    if (clients === "leave") await target.settle();
    target.judgeMemory("peak");
    if (!target.isGone()) target.judgeLog(options.log);
    await target.drain(clients === "stay unserved" ? "any" : "clean");
  } catch (error) {
    faults.push((error as Error).message);
  } finally {
    target.leaveAll();
    target.process.kill();
  }
  return { name, faults, figures };
}

async function settle(): Promise<void> {
  (await polite)?.leave();
  polite = undefined;
  isToBeSettled = false;
  killAll();
  removeScratch();
  const settled = rows.splice(0);
  if (!process.env.TABLE) return;
  console.log(table(settled));
}

/** In Markdown, the way the contract has its own. */
function table(all: Row[]): string {
  const label = process.env.LASTCALL_LABEL || runtime;
  const lines = all.map(({ name, faults, figures }) => {
    const cells = [
      name,
      faults.length === 0 ? "yes" : "**no**",
      figures.drain === 0 ? "**no**" : "yes",
      `${figures.descriptors}`,
      `${figures.inFlight}`,
      `${figures.webSockets}`,
      (figures.memory / MB).toFixed(0),
      figures.p99.toFixed(0),
      figures.drain.toFixed(0),
      `${figures.exit}`,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    `\n${label}: at most ${DESCRIPTORS} descriptors, 100 MB, ${LATENCY} ms`,
    "",
    "| attack | held | lives | descriptors | in flight | WebSockets " +
    "| memory, MB | p99, ms | end, ms | exit |",
    "|---|---|---|---|---|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}
