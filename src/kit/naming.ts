import { type Setting, StartError } from "#lastcall";

/**
 * For a server that could not start: the engine knows its own settings, whoever
 * reads the message sets variables.
 */
export function naming(variables: Partial<Record<Setting, string>>) {
  return (error: unknown): never => {
    if (!(error instanceof StartError)) throw error;
    const { message, settings, cause } = error;
    const names = settings.map((setting) => variables[setting] ?? setting);
    if (names.length === 0) throw error;
    const named = message.replace(/\.$/, ` (${names.join(", ")}).`);
    throw new StartError(named, { cause, settings });
  };
}
