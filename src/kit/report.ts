import type { ShutdownReport } from "#lastcall";

/** As the log has it: its errors as text. */
type Logged = Omit<ShutdownReport, "errors"> & { errors: string[] };

const ENDED = {
  clean: "stopped cleanly",
  timeout: "stopped at a deadline",
  forced: "stopped by force",
  failed: "stopped with errors",
};

/** The report of a shutdown in one sentence, for a person in a terminal. */
export function summaryOf(
  { outcome, reason, phases, requests, sockets, errors }: Logged,
): string {
  // What came before the signal is of no interest here.
  const ms = phases
    .filter(({ phase }) => phase !== "starting" && phase !== "serving")
    .reduce((sum, { ms }) => sum + ms, 0);
  const cut = requests.cut.map(({ method, path, ageMs }) =>
    `${method} ${path} after ${ageMs} ms`
  );
  if (sockets.cut > 0) cut.push(`${sockets.cut} WebSockets`);
  return [
    `${ENDED[outcome]} in ${ms} ms, after ${reason}`,
    ...cut.length > 0 ? [`cut: ${cut.join(", ")}`] : [],
    ...errors.length > 0 ? [`errors: ${errors.join(", ")}`] : [],
  ].join("; ");
}
