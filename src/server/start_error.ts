import { ListenError, type ListenOptions } from "../../runtimes/runtime.ts";

/** A start that failed for a reason a person can mend: no stack trace. */
export class StartError extends Error {
  override name = "StartError";
}

/** One sentence: what happened, what was expected, what to do. */
export function whyNotListening(
  error: unknown,
  { hostname, port }: ListenOptions,
): unknown {
  if (!(error instanceof ListenError)) return error;
  const { cause } = error;
  switch (error.failure) {
    case "in use":
      return new StartError(
        `Port ${port} on ${hostname} is in use by another process; ` +
          "stop that one, or set PORT to a free port.",
        { cause },
      );
    case "not ours":
      return new StartError(
        `${hostname} is not an address of this machine; ` +
          "set HOST to one that is, or to 0.0.0.0 for all of them.",
        { cause },
      );
    case "denied":
      return new StartError(
        `This process may not listen on port ${port} of ${hostname}; ` +
          "set PORT to 1024 or above, or grant it the right to.",
        { cause },
      );
    case "other":
      return new StartError(
        `Could not listen on port ${port} of ${hostname}: ${error.message}`,
        { cause },
      );
  }
}
