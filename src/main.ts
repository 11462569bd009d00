import * as runtime from "#runtime";
import { createApp } from "./app.ts";
import { bookmarks, openBookmarks } from "./bookmarks/mod.ts"; // example
import { readConfig } from "./config.ts";
import { run, serve, ShutdownController } from "./server/mod.ts";

/** Everything that happens, in order. Returns the exit code. */
async function main(): Promise<number> {
  const result = readConfig(runtime.env);
  if (!result.ok) {
    for (const problem of result.problems) console.error(problem);
    return 78; // EX_CONFIG, as sysexits.h has it
  }

  const { hostname, port, ...times } = result.config;
  const { databaseUrl, databaseConnectTimeout } = result.config; // example
  const shutdown = new ShutdownController(times);

  const report = await run(shutdown, async () => {
    // Open what the app needs here, and say beside it how it closes. What was
    // opened last is closed first, after the last request:
    //
    //   const db = await openDatabase();
    //   shutdown.onClose("database", () => db.close());

    const app = createApp(shutdown);
    // example:begin
    const opened = await openBookmarks({
      databaseUrl,
      connectTimeout: databaseConnectTimeout,
      shutdown,
    });
    app.route("/bookmarks", bookmarks(opened));
    // example:end

    await serve(app, { hostname, port, shutdown });
  });
  return report.exitCode;
}

await runtime.exit(await main());
