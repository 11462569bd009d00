import process from "node:process";

/** What runs on our behalf: a server, or the signal command. */
/** @type {Set<{ kill(): void }>} */
export const alive = new Set();

/** Whatever happens, nothing of ours stays behind. */
export function killAll() {
  for (const child of alive) child.kill();
}
process.on("exit", killAll);
