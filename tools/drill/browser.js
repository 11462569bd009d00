import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Node 20 has none of its own.
const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--no-first-run",
  "--disable-component-update",
  "--disable-sync",
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
  "--hide-scrollbars",
  "--remote-debugging-port=0",
];

/** A call that takes longer, in milliseconds, has got lost. */
const PATIENCE = 20_000;

/**
 * A real Chromium, spoken to by its DevTools protocol, with one page. Undefined
 * where the machine has none.
 *
 * @returns {Promise<Browser | undefined>}
 */
export async function openBrowser() {
  for (const name of NAMES) {
    const profile = mkdtempSync(join(tmpdir(), "lastcall-chromium-"));
    const args = [...FLAGS, `--user-data-dir=${profile}`, "about:blank"];
    const child = spawn(name, args, {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const address = await addressOf(child);
    if (address) return await Browser.connect(child, profile, address);
    rmSync(profile, { recursive: true, force: true });
  }
  return undefined;
}

/**
 * Where its protocol is spoken.
 *
 * @param {import("node:child_process").ChildProcess} child
 * @returns {Promise<string | undefined>}
 */
function addressOf(child) {
  return new Promise((resolve) => {
    let text = "";
    child.stderr?.setEncoding("utf8");
    child.stderr?.on("data", (data) => {
      text += data;
      const address = /DevTools listening on (ws:\S+)/.exec(text)?.[1];
      if (address) resolve(address);
    });
    child.on("error", () => resolve(undefined));
    child.on("close", () => resolve(undefined));
  });
}

export class Browser {
  /** What the page complained of: errors, and whatever its console was told. */
  /** @type {string[]} */
  complaints = [];
  /** What it asked the network for. */
  /** @type {string[]} */
  requested = [];

  #child;
  #profile;
  #socket;
  #session = "";
  #calls = 0;
  /** @type {Map<number, { resolve: (result: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** @type {() => void} */
  #loaded = () => {};

  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} profile
   * @param {string} address
   */
  static async connect(child, profile, address) {
    const socket = new WebSocket(address);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    const browser = new Browser(child, profile, socket);
    // A page of our own: which of those that it starts with is in front, and
    // so draws, is not ours to say.
    const { targetId } = await browser.call("Target.createTarget", {
      url: "about:blank",
    });
    const { sessionId } = await browser.call("Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    browser.#session = sessionId;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) {
      await browser.call(`${domain}.enable`);
    }
    await browser.call("Page.bringToFront");
    return browser;
  }

  /**
   * @param {import("node:child_process").ChildProcess} child
   * @param {string} profile
   * @param {InstanceType<typeof WebSocket>} socket
   */
  constructor(child, profile, socket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.addEventListener(
      "message",
      (/** @type {{ data: unknown }} */ { data }) =>
        this.#heard(JSON.parse(String(data))),
    );
    child.on("close", () => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error("Chromium has ended"));
      }
    });
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @returns {Promise<any>}
   */
  call(method, params = {}) {
    const id = ++this.#calls;
    const session = this.#session ? { sessionId: this.#session } : {};
    this.#socket.send(JSON.stringify({ id, method, params, ...session }));
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        const what = `${method} ${JSON.stringify(params).slice(0, 200)}`;
        reject(new Error(`Chromium has not answered ${what}`));
      }, PATIENCE);
      this.#waiting.set(id, {
        resolve(result) {
          clearTimeout(late);
          resolve(result);
        },
        reject(error) {
          clearTimeout(late);
          reject(error);
        },
      });
    });
  }

  /** Opens a page and resolves once it has loaded and drawn itself. */
  /** @param {string} url */
  async open(url) {
    const loaded = /** @type {Promise<void>} */ (
      new Promise((resolve) => this.#loaded = resolve)
    );
    const { errorText } = await this.call("Page.navigate", { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await loaded;
    await this.frame();
  }

  /** Resolves when what was asked for has been drawn. */
  async frame() {
    await this.run(
      "new Promise((done) => requestAnimationFrame(() => setTimeout(done)))",
    );
  }

  /** @param {string} expression @returns {Promise<any>} its value */
  async run(expression) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(describe(exceptionDetails));
    return result.value;
  }

  /** @param {string} key as in KeyboardEvent.key */
  async press(key) {
    const text = key.length === 1 ? { text: key } : {};
    const code = { Tab: 9, Enter: 13, Escape: 27 }[key];
    const windowsVirtualKeyCode = code ?? 0;
    const event = { key, windowsVirtualKeyCode, ...text };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...event });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
    await this.frame();
  }

  /** @param {"dark" | "light"} scheme */
  async colours(scheme) {
    await this.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }],
    });
    await this.frame();
  }

  /** @param {number} width @param {number} height @param {number} [scale] */
  async resize(width, height, scale = 1) {
    await this.call("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: scale,
      mobile: false,
    });
  }

  /**
   * What is in sight, as a PNG in base64. Chromium can do more than that, and
   * hangs now and then while it does: make the window as large as the picture.
   *
   * @returns {Promise<string>}
   */
  async screenshot() {
    return (await this.call("Page.captureScreenshot", { format: "png" })).data;
  }

  async close() {
    const ended = new Promise((resolve) => this.#child.on("close", resolve));
    this.#socket.send(JSON.stringify({ id: 0, method: "Browser.close" }));
    await ended;
    this.#socket.close();
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** @param {any} message */
  #heard({ id, result, error, method, params }) {
    const call = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (call && error) call.reject(new Error(error.message));
    else if (call) call.resolve(result);
    else if (method === "Page.loadEventFired") this.#loaded();
    else if (method === "Network.requestWillBeSent") {
      this.requested.push(params.request.url);
    } else if (method === "Runtime.exceptionThrown") {
      this.complaints.push(describe(params.exceptionDetails));
    } else if (method === "Runtime.consoleAPICalled") {
      const said = params.args.map((/** @type {any} */ arg) => arg.value);
      this.complaints.push(`console.${params.type}: ${said.join(" ")}`);
    } else if (method === "Log.entryAdded") {
      this.complaints.push(params.entry.text);
    }
  }
}

/** @param {any} details of an exception */
function describe(details) {
  return details.exception?.description ?? details.text;
}
