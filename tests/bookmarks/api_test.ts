import { onFresh, suite } from "./api.ts";
import { missing } from "./databases.ts";
import { memoryApp, openApp } from "./in_process.ts";

suite("in process, in memory", false, () => Promise.resolve(memoryApp()));
suite(
  "in process, on SQLite",
  missing("SQLite"),
  () => onFresh("SQLite", openApp),
);
