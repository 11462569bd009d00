import {
  ListenError,
  type ListenOptions,
  type Setting,
} from "../runtimes/runtime.ts";

/** A start that failed for a reason a person can mend: no stack trace. */
export class StartError extends Error {
  override name = "StartError";
  /** What of `ServeOptions` to look at. */
  readonly settings: readonly Setting[];

  constructor(
    message: string,
    { settings = [], ...options }: ErrorOptions & {
      settings?: readonly Setting[];
    } = {},
  ) {
    super(message, options);
    this.settings = settings;
  }
}

/** One sentence: what happened, what was expected, what to do. */
export function whyNotListening(
  error: unknown,
  options: ListenOptions,
): unknown {
  if (!(error instanceof ListenError)) return error;
  const { cause, settings = settingsOf(error, options) } = error;
  return new StartError(sentence(error, options), { cause, settings });
}

function settingsOf(
  { failure }: ListenError,
  { unix }: ListenOptions,
): Setting[] {
  switch (failure) {
    case "in use":
    case "denied":
      return [unix === undefined ? "port" : "unix"];
    case "not ours":
      return ["hostname"];
    default:
      return [];
  }
}

function sentence(
  error: ListenError,
  { hostname, port, unix }: ListenOptions,
): string {
  const place = unix === undefined
    ? `port ${port} of ${hostname}`
    : `the Unix socket ${unix}`;
  switch (error.failure) {
    case "in use":
      return unix === undefined
        ? `Port ${port} on ${hostname} is in use by another process; ` +
          "stop that one, or choose a free port."
        : `Another process is listening on ${place}; ` +
          "stop that one, or choose another path.";
    case "not ours":
      return `${hostname} is not an address of this machine; ` +
        "choose one that is, or 0.0.0.0 for all of them.";
    case "denied":
      return `This process may not listen on ${place}; choose ` +
        (unix === undefined
          ? "1024 or above, or grant it the right to."
          : "a folder that it may write to, or grant it the right to.");
    case "certificate":
      return error.message;
    case "other":
      return `Could not listen on ${place}: ${error.message}.`;
  }
}
