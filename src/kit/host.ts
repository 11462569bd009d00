/** A name or an address, and perhaps a port. */
const HOST = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i;

/**
 * Tells whether a Host header says one thing, and one that a URL can have. Deno
 * makes whatever it says a part of the URL, so that one with a slash chooses the
 * path; Bun takes the first of two, and lets `new URL(c.req.url)` throw.
 */
export function hostCheck(): (host: string | undefined) => boolean {
  // Nearly all requests bring the same one.
  let lastGood: string | undefined;
  return (host) => {
    // HTTP/2 has its authority in its place.
    if (host === undefined || host === lastGood) return true;
    if (!HOST.test(host) || !URL.canParse(`http://${host}`)) return false;
    lastGood = host;
    return true;
  };
}
