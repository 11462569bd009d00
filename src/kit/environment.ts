import * as v from "valibot";

/** An object schema whose entries are environment variables. */
type Schema = v.GenericSchema<unknown, unknown> & {
  readonly entries: Record<string, v.GenericSchema>;
};

export type Environment = (name: string) => string | undefined;

/** Either a config or, each in one sentence, everything that is wrong. */
export type ConfigResult<Config> =
  | { ok: true; config: Config }
  | { ok: false; problems: string[] };

/**
 * Reads what the schema names. The message of each of its checks completes the
 * sentence "expected ..."; a variable that is set but empty counts as not set:
 * that is what `PORT=` in an env file, or an unfilled `${PORT}` in a compose
 * file, means to say.
 */
export function readEnvironment<S extends Schema>(
  schema: S,
  env: Environment,
): ConfigResult<v.InferOutput<S>> {
  const values: Record<string, string> = {};
  for (const name of Object.keys(schema.entries)) {
    const text = env(name);
    if (text) values[name] = text;
  }
  const { success, output, issues } = v.safeParse(schema, values);
  if (success) return { ok: true, config: output };
  const problems = issues.map(({ path, message }) => {
    const name = String(path?.[0]?.key);
    const found = values[name] ?? defaultOf(schema, name);
    if (found === undefined && isRequired(schema, name)) {
      return `${name} is not set; expected ${expectedOf(schema, name)}.`;
    }
    const shown = found === undefined
      ? "not set"
      : isSecret(schema, name)
      ? `a value of ${found.length} characters`
      : JSON.stringify(found);
    return `${name} is ${shown}; expected ${message}.`;
  });
  return { ok: false, problems };
}

/** Every variable as an env file has it, with where its value comes from. */
export function listEnvironment(schema: Schema, env: Environment): string {
  return Object.keys(schema.entries).map((name) => {
    const own = env(name);
    const value = own || defaultOf(schema, name);
    if (value === undefined) {
      const needed = isRequired(schema, name) ? ", and has to be" : "";
      return `# ${name}=  # not set${needed}`;
    }
    const source = own ? "environment" : "default";
    return isSecret(schema, name)
      ? `${name}=***  # ${source}, ${value.length} characters`
      : `${name}=${quoted(value)}  # ${source}`;
  }).join("\n");
}

function defaultOf({ entries }: Schema, name: string): string | undefined {
  const value = v.getDefault(entries[name] as v.GenericSchema);
  return typeof value === "string" ? value : undefined;
}

function isRequired({ entries }: Schema, name: string): boolean {
  return !v.is(entries[name] as v.GenericSchema, undefined);
}

/** Of a variable that is missing, valibot says no more than that. */
function expectedOf({ entries }: Schema, name: string): string {
  const { issues } = v.safeParse(entries[name] as v.GenericSchema, "");
  return issues?.[0].message ?? "a value";
}

function isSecret({ entries }: Schema, name: string): boolean {
  return v.getMetadata(entries[name] as never)["secret"] === true;
}

/** On one line, and with nothing in it that a terminal would obey. */
function quoted(text: string): string {
  return /^[\w.,:*/@+-]*$/.test(text) ? text : JSON.stringify(text);
}
