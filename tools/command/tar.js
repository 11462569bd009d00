// Reads the tarball of a package, as npm makes them.

import { Buffer } from "node:buffer";
import { gunzipSync } from "node:zlib";

/**
 * One file of it, as text; undefined where there is none.
 *
 * @param {Uint8Array} tarball
 * @param {string} wanted its path in the package
 */
export function fileIn(tarball, wanted) {
  const bytes = gunzipSync(tarball);
  const text = (/** @type {number} */ from, /** @type {number} */ length) =>
    bytes.subarray(from, from + length).toString("utf8").replace(/\0.*$/s, "");
  for (let at = 0; at + 512 <= bytes.length;) {
    const name = text(at, 100);
    const size = parseInt(text(at + 124, 12), 8) || 0;
    // npm puts everything below package/.
    if (name.replace(/^[^/]*\//, "") === wanted) {
      return Buffer.from(bytes.subarray(at + 512, at + 512 + size)).toString();
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return undefined;
}
