/** Whatever was thrown, as an error that can be read without a further throw. */
export function toError(cause: unknown): Error {
  try {
    if (!(cause instanceof Error)) return new Error(String(cause));
    // Read here, for a getter may throw, and nobody expects that of one.
    const { message, stack = "" } = cause;
    if (typeof message === "string" && typeof stack === "string") return cause;
  } catch {
    // An object without a prototype has no words for itself.
  }
  return new Error("something that is no error was thrown");
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** Calls `act`, so that a throw and a rejection look the same. */
export async function invoke(act: () => unknown): Promise<void> {
  await act();
}
