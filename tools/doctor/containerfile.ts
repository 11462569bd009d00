import { examineAlive } from "./alive.ts";
import { examineCommand, examineSignal } from "./command.ts";
import { type Diagnosis, error, warning } from "./finding.ts";

export interface Instruction {
  name: string;
  text: string;
  /** The words of an exec form, `["node", "main.js"]`. */
  exec: string[] | undefined;
}

export function examineContainerfile(text: string): Diagnosis {
  const { findings }: Diagnosis = { findings: [], servers: [] };
  const last = stages(text).at(-1) ?? [];
  const find = (wanted: string) => last.findLast(({ name }) => name === wanted);

  for (const one of [find("ENTRYPOINT"), find("CMD")]) {
    if (!one) continue;
    if (one.exec) findings.push(...examineCommand(one.name, one.exec));
    else {
      findings.push(error(
        `${one.name} is in shell form: ${one.text}`,
        "process 1 is a shell then, which keeps SIGTERM for itself",
        `say it as a list: ${one.name} ["node", "dist/main.js"]`,
      ));
    }
  }
  const signal = find("STOPSIGNAL")?.text;
  if (signal !== undefined) {
    findings.push(...examineSignal("STOPSIGNAL", signal));
  }
  if (find("HEALTHCHECK")?.text.includes("alive.js")) {
    const env = last.filter(({ name }) => name === "ENV")
      .map(({ text }) => ` ${text}`).join("");
    findings.push(
      ...examineAlive("the image", (wanted) => env.includes(` ${wanted}`)),
    );
  }
  const user = find("USER")?.text;
  if (user === undefined || /^(root|0)(:|$)/.test(user)) {
    findings.push(warning(
      `the server runs as ${user ?? "whoever the base image says"}`,
      "as root, a hole in the app is a hole in the container",
      "say `USER 65532`, the nonroot of distroless, or another that the base image has",
    ));
  }
  return { findings, servers: [] };
}

/** The instructions of each stage; the last stage is what is shipped. */
export function stages(text: string): Instruction[][] {
  const found: Instruction[][] = [];
  const joined = text.split("\n").filter((line) => !/^\s*#/.test(line))
    .join("\n").replaceAll(/\\\n/g, " ");
  for (const line of joined.split("\n")) {
    const [, word, text = ""] = /^\s*([A-Za-z]+)\s+(.*?)\s*$/.exec(line) ?? [];
    if (word === undefined) continue;
    const name = word.toUpperCase();
    if (name === "FROM") found.push([]);
    found.at(-1)?.push({ name, text, exec: execForm(text) });
  }
  return found;
}

function execForm(text: string): string[] | undefined {
  try {
    const words: unknown = JSON.parse(text);
    if (Array.isArray(words)) return words.map(String);
  } catch {
    // A shell form is no JSON.
  }
}
