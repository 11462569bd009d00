/**
 * What the proof asks of a feature beyond the tests that are its own: the file
 * `asked.json` of its folder in proof/.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { root } from "./server_process.ts";

interface Asked {
  /** Paths that are wrong in some way; each is to be answered. */
  hostile: string[];
  /** Paths to begin with, for requests that are then mutated. */
  mutated: string[];
  /** Requests for the rolling restarts, each with its weight (proof/deploy). */
  mix: unknown[];
}

export function featurePaths(kind: "hostile" | "mutated"): string[] {
  const proof = path.join(root, "proof");
  return fs.readdirSync(proof)
    .map((folder) => path.join(proof, folder, "asked.json"))
    .filter((file) => fs.existsSync(file))
    .flatMap((file): string[] =>
      JSON.parse(fs.readFileSync(file, "utf8"))[kind]
    );
}
