/** The picture of a drill, looked at in a real browser. */
import { after, test } from "node:test";
import * as fs from "node:fs";
import * as path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
} from "@std/assert";
import { type Browser, openBrowser } from "../../tools/drill/browser.js";
import { type Fate, FATES } from "../../tools/drill/fate.js";
import { renderHtml } from "../../tools/drill/html.js";
import { readOptions } from "../../tools/drill/options.js";
import { bandsOf, summarise } from "../../tools/drill/summary.js";
import {
  drillBad,
  folder,
  makeFolder,
  removeFolder,
} from "../support/drilled.ts";
import { killAll, root } from "../support/server_process.ts";

const browser = await openBrowser();
const without = browser ? undefined : "there is no Chromium on this machine";
if (without && process.env.CI === "true") throw new Error(without);

after(async () => {
  await browser?.close();
  killAll();
  removeFolder();
});

type FateAt = (request: number) => Fate;

/** What the filters say: how many there are of each fate. */
async function countsOf(browser: Browser): Promise<Record<string, number>> {
  return await browser.run(`Object.fromEntries(
    [...document.querySelectorAll("[data-fate]")].map((button) => [
      button.dataset.fate,
      Number(button.querySelector("b").textContent.replaceAll(",", "")),
    ]))`);
}

const detail = `document.getElementById("detail").textContent`;
const focused = `document.activeElement.id`;

async function open(page: string): Promise<Browser> {
  assert(browser);
  browser.complaints.length = browser.requested.length = 0;
  await browser.resize(1280, 900);
  await browser.open(pathToFileURL(page).href);
  return browser;
}

test("the page shows what the summary says, and asks the network for nothing", {
  skip: without,
  timeout: 60_000,
}, async () => {
  const { page, seen } = await drillBad("drops-in-flight");
  const browser = await open(page);
  assertEquals(await countsOf(browser), seen.summary.fates);
  const lost = seen.summary.lost.length;
  assertEquals(
    await browser.run(`document.querySelectorAll("#lost tbody tr").length`),
    lost,
  );
  assertMatch(
    await browser.run(`document.querySelector("h1").textContent`),
    new RegExp(`^${seen.summary.fates.dropped} of `),
  );

  // Light and dark are two pictures, and neither is empty.
  const pictures: string[] = [];
  for (const scheme of ["light", "dark"] as const) {
    await browser.colours(scheme);
    assert(await coloursOnChart(browser) > 8, `${scheme}: nothing was drawn`);
    pictures.push(await browser.screenshot());
  }
  assertNotEquals(pictures[0], pictures[1]);

  assertEquals(browser.requested, [pathToFileURL(page).href]);
  assertEquals(browser.complaints, []);
});

/** How many colours the canvas holds. */
async function coloursOnChart(browser: Browser): Promise<number> {
  return await browser.run(`(() => {
    const copy = new OffscreenCanvas(chart.width, chart.height);
    const context = copy.getContext("2d");
    context.drawImage(chart, 0, 0);
    const { data } = context.getImageData(0, 0, copy.width, copy.height);
    return new Set(new Uint32Array(data.buffer)).size;
  })()`);
}

test("the page can be used by its keys alone", {
  skip: without,
  timeout: 60_000,
}, async () => {
  const { page, seen } = await drillBad("drops-in-flight");
  const browser = await open(page);

  // Tab goes through the filters, to the view, to the timeline.
  for (const fate of FATES) {
    await browser.press("Tab");
    const name = await browser.run(`document.activeElement.dataset.fate`);
    assertEquals(name, fate);
  }
  for (const id of ["window", "out", "in", "chart"]) {
    await browser.press("Tab");
    assertEquals(await browser.run(focused), id);
  }

  await browser.press("ArrowRight");
  assertMatch(await browser.run(detail), /^GET \/ at .*: answered with 200/);
  const first = await browser.run(detail);
  await browser.press("ArrowRight");
  assertNotEquals(await browser.run(detail), first);
  await browser.press("ArrowLeft");
  assertEquals(await browser.run(detail), first);
  await browser.press("ArrowDown");
  assertNotEquals(await browser.run(detail), first);

  await browser.press("n");
  const lost = seen.summary.lost[0];
  assert(lost);
  const told: string = await browser.run(detail);
  assertMatch(told, new RegExp(`at ${(lost.at / 1000).toFixed(3)} s: `));
  assertMatch(told, new RegExp(`${lost.fate} after .*: ${lost.cause}`));
  await browser.press("Enter");
  assertEquals(await browser.run(focused), "detail");
  assertMatch(await browser.run(detail), /Connection\d+, in row \d+/);
  await browser.press("Escape");
  assertEquals(await browser.run(focused), "chart");

  // A request that its filter hides is passed over.
  await browser.press("Escape");
  await browser.run(`document.querySelector("[data-fate=answered]").click()`);
  assertEquals(
    await browser.run(
      `document.querySelector("[data-fate=answered]").ariaPressed`,
    ),
    "false",
  );
  await browser.press("Home");
  assertMatch(await browser.run(detail), /: (dropped|raced|refused) after/);

  // Where all are hidden, there is none to go to.
  await browser.run(`document.querySelectorAll("[data-fate][aria-pressed=true]")
    .forEach((button) => button.click())`);
  await browser.press("End");
  await browser.press("Enter");
  assertMatch(await browser.run(detail), /^Point at a request/);

  const view = `document.getElementById("window").selectedOptions[0].label`;
  await browser.press("+");
  assertEquals(await browser.run(view), "a part of it");
  await browser.press("0");
  assertEquals(await browser.run(view), "the whole drill");
  assertEquals(browser.complaints, []);
});

test("fifty thousand requests are no burden", {
  skip: without,
  timeout: 60_000,
}, async () => {
  const drill = manyRequests(50_000);
  const browser = await open(pageOf(drill));
  assertEquals(await countsOf(browser), drill.summary.fates);

  await browser.run("chart.focus()");
  const frames: number[] = [];
  for (const key of ["+", "+", "+", "ArrowRight", "ArrowDown", "-", "-", "0"]) {
    const began = performance.now();
    await browser.press(key);
    frames.push(performance.now() - began);
  }
  frames.sort((a, b) => a - b);
  const middle = frames[Math.floor(frames.length / 2)] ?? Infinity;
  console.log(`50,000 requests: a key is answered in ${middle.toFixed(0)} ms`);
  // Each frame would take seconds, were all of them drawn one by one.
  assert(middle < 500, frames.join());
  assertEquals(browser.complaints, []);
});

test("one lost of fifty thousand can be seen and found", {
  skip: without,
  timeout: 60_000,
}, async () => {
  const connections = 2000;
  const lost = 25_500;
  const drill = manyRequests(
    50_000,
    connections,
    (i) => i === lost ? "dropped" : "answered",
  );
  const page = pageOf(drill);
  assertMatch(
    fs.readFileSync(page, "utf8"),
    /<title>Drill: node &lt;\/x&gt;<\/title>/,
  );
  const browser = await open(page);
  assertMatch(
    await browser.run(`document.getElementById("figures").textContent`),
    /answered99\.99 %/,
  );

  // By far less than a pixel per row, it would be the colour of its neighbours.
  const row = drill.connections[drill.requests[lost]?.connection ?? 0]?.slot;
  const share = (drill.requests[lost]?.began ?? 0) / drill.ms;
  const place = `
    const x = 84 + ${share} * (chart.clientWidth - 104);
    const y = 234 + (${row} + 0.5) * 460 / ${connections};`;
  const colours: number[][] = await browser.run(`(() => {${place}
    const dropped = new OffscreenCanvas(1, 1).getContext("2d");
    dropped.fillStyle = getComputedStyle(document.documentElement)
      .getPropertyValue("--dropped");
    dropped.fillRect(0, 0, 1, 1);
    const seen = new OffscreenCanvas(chart.width, chart.height)
      .getContext("2d");
    seen.drawImage(chart, 0, 0);
    return [
      [...dropped.getImageData(0, 0, 1, 1).data],
      [...seen.getImageData(Math.floor(x) + 1, Math.floor(y), 1, 1).data],
    ];
  })()`);
  assertEquals(colours[1], colours[0]);

  // Nor need the pointer hit its row.
  const tip: string = await browser.run(`(() => {${place}
    const { left, top } = chart.getBoundingClientRect();
    chart.dispatchEvent(new PointerEvent("pointermove", {
      clientX: left + x,
      clientY: top + y + 1.2,
    }));
    return document.getElementById("tip").textContent;
  })()`);
  assertMatch(tip, /dropped after/);
  assertEquals(browser.complaints, []);
});

/** Writes the page of a drill that nobody made. */
function pageOf(drill: ReturnType<typeof manyRequests>): string {
  makeFolder();
  const page = path.join(root, folder, "made-up.html");
  fs.writeFileSync(
    page,
    renderHtml(drill, path.join(root, "tools/drill/page")),
  );
  return page;
}

/** A drill of 21 servers over 250 s, with every fate in it. */
function manyRequests(count: number, connections = 20, fateAt?: FateAt) {
  const restarts = 20;
  const args = ["--restarts", `${restarts}`, "--connections", `${connections}`];
  const read = readOptions(args, ["node", "</x>"]);
  assert(read.ok && read.options !== "help");
  const { options } = read;
  const ms = count * 1000 / options.rate;
  const life = ms / (restarts + 1);
  const servers = Array.from({ length: restarts + 1 }, (_, i) => {
    const ends = i < restarts;
    const seen = {
      startedAt: i * life,
      readyAt: i * life + 200,
      signalAt: ends ? (i + 1) * life - 300 : undefined,
      exitAt: ends ? (i + 1) * life : undefined,
      reportAt: undefined,
      report: undefined,
    };
    return {
      startedAt: seen.startedAt,
      readyAt: seen.readyAt,
      ...(seen.signalAt ? { signalAt: seen.signalAt } : {}),
      ...(seen.exitAt ? { exitAt: seen.exitAt, ending: "exit code 0" } : {}),
      bands: bandsOf(seen, ms),
    };
  });
  const opened = servers.flatMap(({ readyAt, exitAt = ms }) =>
    Array.from({ length: options.connections }, (_, slot) => (
      { slot, openedAt: readyAt, closedAt: exitAt, closedBy: "server" }
    ))
  );
  const requests = Array.from({ length: count }, (_, i) => {
    const due = i * 1000 / options.rate;
    const server = Math.min(restarts, Math.floor(due / life));
    const fate: Fate = fateAt
      ? fateAt(i)
      : due < server * life + 200
      ? "refused"
      : i % 997 === 0
      ? FATES[2 + i % 4] ?? "dropped"
      : "answered";
    return {
      due,
      began: due + i % 3 / 10,
      ended: due + 1 + i % 40 + (fate === "timed out" ? 3000 : 0),
      route: 0,
      connection: server * options.connections + i % options.connections,
      nth: 2,
      status: fate === "answered" ? 200 : 0,
      fate,
      cause: fate === "answered" ? "" : "made up, <b>all of it</b>",
    };
  });
  const limits = { ...options, maxRefused: Infinity };
  const summary = summarise(requests, servers, options.mix, limits, []);
  const startedAt = new Date(0).toISOString();
  const what = options.command.join(" ");
  return {
    startedAt,
    what,
    options,
    ms,
    servers,
    connections: opened,
    requests,
    summary,
  };
}
