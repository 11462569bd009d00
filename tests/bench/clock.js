import process from "node:process";

/**
 * Milliseconds on the machine's own clock, so that those of two processes can be
 * compared; `performance` counts from each one's start.
 */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}
