import { onFresh, suite } from "./api.ts";
import { kinds, missing } from "./databases.ts";
import { memoryApp, openApp } from "./in_process.ts";

suite("in process, in memory", false, () => Promise.resolve(memoryApp()));

for (const kind of kinds) {
  suite(
    `in process, on ${kind}`,
    missing(kind),
    () => onFresh(kind, openApp),
  );
}
