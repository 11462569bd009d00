import { ListenError, type ListenOptions } from "../runtimes/runtime.ts";

/** A start that failed for a reason a person can mend: no stack trace. */
export class StartError extends Error {
  override name = "StartError";
}

/** One sentence: what happened, what was expected, what to do. */
export function whyNotListening(
  error: unknown,
  { hostname, port, unix }: ListenOptions,
): unknown {
  if (!(error instanceof ListenError)) return error;
  return new StartError(sentence(error, hostname, port, unix), {
    cause: error.cause,
  });
}

function sentence(
  error: ListenError,
  hostname: string,
  port: number,
  unix: string | undefined,
): string {
  const place = unix ?? `port ${port} of ${hostname}`;
  switch (error.failure) {
    case "in use":
      return unix === undefined
        ? `Port ${port} on ${hostname} is in use by another process; ` +
          "stop that one, or set PORT to a free port."
        : `Another process is listening on the Unix socket ${unix}; ` +
          "stop that one, or choose another path.";
    case "not ours":
      return `${hostname} is not an address of this machine; ` +
        "set HOST to one that is, or to 0.0.0.0 for all of them.";
    case "denied":
      return unix === undefined
        ? `This process may not listen on ${place}; ` +
          "set PORT to 1024 or above, or grant it the right to."
        : `This process may not listen on the Unix socket ${unix}; ` +
          "choose a folder that it may write to, or grant it the right to.";
    case "certificate":
      return error.message;
    case "other":
      return `Could not listen on ${place}: ${error.message}.`;
  }
}
