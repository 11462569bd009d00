import process from "node:process";

/** Every script answers --help in the same way. @param {string} text */
export function answerHelp(text) {
  if (!process.argv.slice(2).some((arg) => /^(--help|-h)$/.test(arg))) return;
  console.log(text);
  process.exit(0);
}
