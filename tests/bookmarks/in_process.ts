/** The app with its bookmarks, in the process that tests it. */
import { assertEquals } from "@std/assert";
import { createApp } from "../../src/app.ts";
import { auditLine } from "../../src/bookmarks/audit_log.ts";
import { MemoryStore } from "../../src/bookmarks/memory_store.ts";
import { bookmarks, openBookmarks } from "../../src/bookmarks/mod.ts";
import type { Bookmarks } from "../../src/bookmarks/open.ts";
import { Metrics } from "../../src/kit/metrics.ts";
import { Checks, type LogEntry, ShutdownController } from "#lastcall";
import { configOf } from "../app_setup.ts";
import type { TestDatabase } from "./databases.ts";

export type Ask = (path: string, init?: RequestInit) => Promise<Response>;

export interface InProcess {
  ask: Ask;
  opened: Bookmarks;
  shutdown: ShutdownController;
  entries: LogEntry[];
  stop(): Promise<void>;
}

export function quietController(onEntry = (_: LogEntry) => {}): {
  shutdown: ShutdownController;
  entries: LogEntry[];
} {
  const entries: LogEntry[] = [];
  const log = (entry: LogEntry) => {
    entries.push(entry);
    onEntry(entry);
  };
  return { shutdown: new ShutdownController({ log }), entries };
}

export async function openApp(
  { url }: TestDatabase,
  onEntry?: (entry: LogEntry) => void,
): Promise<InProcess> {
  const { shutdown, entries } = quietController(onEntry);
  const opened = await openBookmarks({
    config: { DATABASE_URL: url, DATABASE_CONNECT_TIMEOUT_MS: 10_000 },
    shutdown,
  });
  return mounted(opened, shutdown, entries);
}

/** Opened by hand: where there is SQLite, nothing else leads to memory. */
export function memoryApp(): InProcess {
  const { shutdown, entries } = quietController();
  const store = new MemoryStore();
  const record: Bookmarks["record"] = (action, bookmark) =>
    shutdown.waitUntil(
      auditLine(action, bookmark).then((line) => store.saveAuditLines([line])),
    );
  return mounted({ store, record }, shutdown, entries);
}

function mounted(
  opened: Bookmarks,
  shutdown: ShutdownController,
  entries: LogEntry[],
): InProcess {
  const config = configOf({ DEMO: "" });
  const checks = new Checks(shutdown);
  const app = createApp({ config, shutdown, checks, metrics: new Metrics() });
  app.route("/bookmarks", bookmarks(opened));
  return {
    ask: async (path, init) => await app.request(path, init),
    opened,
    shutdown,
    entries,
    async stop() {
      const { exitCode } = await shutdown.begin();
      assertEquals(exitCode, 0, JSON.stringify(entries));
    },
  };
}
