/** A head beyond this is no head. */
const LONGEST_HEAD = 65_536;

/** So much of a refusal is kept: enough for its first sentence. */
const LONGEST_SAID = 200;

/**
 * Reads one HTTP/1.1 response off the wire and keeps nearly none of it: what a
 * drill needs to know is whether it came whole, and what a refusal says.
 */
export class ResponseReader {
  /** Of the whole answer, head and all. */
  bytes = 0;
  /** @type {number | undefined} */
  status;
  whole = false;
  /** What makes this no response at all. */
  broken = "";
  /** The beginning of a body whose status says that something is wrong. */
  said = "";
  /** The connection may bring another. */
  keepAlive = false;

  #method;
  #text = "";
  /** @type {TextDecoder | undefined} */
  #decoder;
  /** @type {"head" | "length" | "chunk size" | "chunk" | "trailers" | "until close"} */
  #reading = "head";
  /** Bytes left of the body, or of the chunk and its line end. */
  #left = 0;

  /** @param {string} method of the request */
  constructor(method) {
    this.#method = method;
  }

  /** @param {Uint8Array} data */
  push(data) {
    this.bytes += data.length;
    let at = 0;
    while (at < data.length && !this.broken) {
      if (this.whole) {
        // Nobody asked for more: this connection is out of step.
        this.keepAlive = false;
        return;
      }
      at = this.#take(data, at);
    }
  }

  /** The connection has ended cleanly. */
  end() {
    if (this.#reading === "until close") this.whole = true;
  }

  /** @param {Uint8Array} data @param {number} at @returns {number} */
  #take(data, at) {
    switch (this.#reading) {
      case "until close":
        this.#hear(data.subarray(at));
        return data.length;
      case "length":
      case "chunk": {
        const taken = Math.min(this.#left, data.length - at);
        this.#hear(data.subarray(at, at + taken));
        this.#left -= taken;
        if (this.#left === 0) {
          if (this.#reading === "length") this.whole = true;
          else this.#reading = "chunk size";
        }
        return at + taken;
      }
      default:
        return this.#takeLine(data, at);
    }
  }

  /** @param {Uint8Array} body */
  #hear(body) {
    const left = LONGEST_SAID - this.said.length;
    if ((this.status ?? 0) < 400 || left <= 0) return;
    this.#decoder ??= new TextDecoder();
    this.said += this.#decoder.decode(body.subarray(0, left), { stream: true });
  }

  /** @param {Uint8Array} data @param {number} at @returns {number} */
  #takeLine(data, at) {
    const end = data.indexOf(10, at);
    const upTo = end < 0 ? data.length : end + 1;
    for (let i = at; i < upTo; i++) {
      this.#text += String.fromCharCode(data[i] ?? 0);
    }
    if (this.#text.length > LONGEST_HEAD) {
      this.broken = `a head of more than ${LONGEST_HEAD} bytes`;
    } else if (end >= 0) this.#lineEnded();
    return upTo;
  }

  #lineEnded() {
    const text = this.#text;
    switch (this.#reading) {
      case "head":
        if (!/^HTTP\/1\.[01] \d{3}\b/.test(text)) {
          this.broken = JSON.stringify(text.slice(0, 40).trim());
        } else if (text.endsWith("\n\r\n") || text.endsWith("\n\n")) {
          this.#text = "";
          this.#headEnded(text);
        }
        return;
      case "chunk size": {
        const size = /^[0-9a-f]+(?=\s*(;|$))/i.exec(text.trim())?.[0];
        if (size === undefined) {
          this.broken = `a chunk size of ${JSON.stringify(text.trim())}`;
        } else if (Number(`0x${size}`) === 0) this.#reading = "trailers";
        else {
          this.#reading = "chunk";
          this.#left = Number(`0x${size}`) + 2;
        }
        this.#text = "";
        return;
      }
      case "trailers":
        if (text.trim() === "") this.whole = true;
        this.#text = "";
    }
  }

  /** @param {string} head */
  #headEnded(head) {
    const [first = "", ...lines] = head.trimEnd().split(/\r?\n/);
    const status = Number(first.slice(9, 12));
    // An interim answer: the real one follows.
    if (status >= 100 && status < 200 && status !== 101) return;
    this.status = status;

    /** @param {string} name */
    const header = (name) =>
      lines.filter((line) => line.toLowerCase().startsWith(`${name}:`))
        .map((line) => line.slice(name.length + 1).trim().toLowerCase())
        .join(",");
    const connection = header("connection").split(",").map((t) => t.trim());
    this.keepAlive = first.startsWith("HTTP/1.1")
      ? !connection.includes("close")
      : connection.includes("keep-alive");

    const coding = header("transfer-encoding");
    const length = [...new Set(header("content-length").split(/\s*,\s*/))];
    if (status === 101) {
      this.whole = true;
      this.keepAlive = false;
    } else if (this.#method === "HEAD" || status === 204 || status === 304) {
      this.whole = true;
    } else if (/(^|,)\s*chunked$/.test(coding)) {
      this.#reading = "chunk size";
    } else if (coding || length[0] === "") {
      this.#reading = "until close";
      this.keepAlive = false;
    } else if (length.length === 1 && /^\d+$/.test(length[0] ?? "")) {
      this.#reading = "length";
      this.#left = Number(length[0]);
      this.whole = this.#left === 0;
    } else {
      this.broken = `a Content-Length of ${JSON.stringify(length.join(", "))}`;
    }
  }
}
