/**
 * A command line as its words. There is no shell in between: the signal has to
 * reach the server itself, and a shell would keep it.
 *
 * @param {string} line
 * @returns {{ ok: true, words: string[] } | { ok: false, why: string }}
 */
export function splitWords(line) {
  /** @type {string[]} */
  const words = [];
  /** @type {string | undefined} */
  let word;
  let quote = "";
  for (let i = 0; i < line.length; i++) {
    const char = line.charAt(i);
    if (quote) {
      if (char === quote) quote = "";
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (/[|&;<>()$`*?]/.test(char)) {
      const why = `has a ${char}, which only a shell understands; ` +
        `put quotes around it, or write sh -c '...'`;
      return { ok: false, why };
    } else {
      word = (word ?? "") + char;
    }
  }
  if (quote) return { ok: false, why: `has a ${quote} that is never closed` };
  if (word !== undefined) words.push(word);
  return words[0] ? { ok: true, words } : { ok: false, why: "is empty" };
}
