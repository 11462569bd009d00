// `npm start` and `bun run start`. This process becomes the server: a signal, an
// exit code and the arguments need nobody to hand them on.
//
// package.json says `exec` first, for npm: a shell that stays between them dies
// of npm's SIGTERM, and the server never hears of it. Windows has no `exec`:
// start it by `node scripts/start.js` there.

import process from "node:process";

if (process.versions["bun"]) await import("../src/main.ts");
else {
  const { app, build } = await import("./bundle.js");
  if (!build(app)) process.exit(1);
  process.setSourceMapsEnabled(true);
  await import(`../${app.outfile}`);
}
