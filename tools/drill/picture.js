// Makes the picture of the README, docs/drill-*.png: the same drill of a bare
// server and of lastcall, as their pages show it. Run `npm run build` first.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { openBrowser } from "./browser.js";
import { drill } from "./drill.js";
import { renderHtml } from "./html.js";
import { readOptions } from "./options.js";

const WIDTH = 880;
/** For sharp screens. */
const SCALE = 2;
process.env["DEMO"] = "true"; // for its /slow
const SERVERS = ["tools/drill/bare_server.js", "dist/main.js"];
/** Of each page the verdict and the timeline. */
const CROP = `
  body { padding: 28px 32px }
  .eyebrow, #reasons, #figures, #detail, #keys, #lost, #restarts, .zoom {
    display: none !important
  }
  main { margin-top: 16px }
`;

/** The window as tall as what it shows. */
async function fitWindow() {
  const height = await browser?.run("document.body.offsetHeight");
  await browser?.resize(WIDTH, height, SCALE);
  await browser?.frame();
}

const scratch = mkdtempSync(join(tmpdir(), "lastcall-picture-"));
const browser = await openBrowser();
if (!browser) throw new Error("There is no Chromium on this machine.");
try {
  /** @type {string[]} */
  const pages = [];
  for (const server of SERVERS) {
    const args = ["--mix", "GET /slow?ms=20", "--connections", "10"];
    const few = ["--restarts", "2", "--between", "1.2", "--rate", "150"];
    const read = readOptions([...args, ...few], [process.execPath, server]);
    if (!read.ok || read.options === "help") throw new Error("wrong options");
    const seen = await drill(read.options, (text) => console.log(text));
    console.log(seen.what, seen.summary.fates);
    const page = join(scratch, `${pages.push(server)}.html`);
    writeFileSync(page, renderHtml(seen));
    pages.splice(-1, 1, page);
  }
  for (const scheme of /** @type {const} */ (["light", "dark"])) {
    await browser.colours(scheme);
    const parts = [];
    for (const page of pages) {
      await browser.resize(WIDTH, 600, SCALE);
      await browser.open(pathToFileURL(page).href);
      await browser.run(`document.head.append(
        Object.assign(document.createElement("style"), {
          textContent: ${JSON.stringify(CROP)},
        }))`);
      await browser.frame();
      await fitWindow();
      parts.push(await browser.screenshot());
    }
    const both = join(scratch, "both.html");
    const images = parts.map((png) =>
      `<img src="data:image/png;base64,${png}" width="${WIDTH}">`
    );
    writeFileSync(
      both,
      `<style>body { margin: 0 } img { display: block }</style>${
        images.join("")
      }`,
    );
    await browser.open(pathToFileURL(both).href);
    await fitWindow();
    const png = await browser.screenshot();
    writeFileSync(`docs/drill-${scheme}.png`, png, "base64");
  }
} finally {
  await browser.close();
  rmSync(scratch, { recursive: true, force: true });
}
