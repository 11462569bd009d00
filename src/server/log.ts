/** A fact in the past tense, and its particulars. */
export interface LogEntry {
  level: "debug" | "info" | "warn" | "error";
  message: string;
  [field: string]: unknown;
}

export type Log = (entry: LogEntry) => void;

/** One JSON line an entry on stdout: what every log collector reads. */
export const jsonLog: Log = ({ level, message, ...fields }) => {
  console.log(
    JSON.stringify({
      time: new Date().toISOString(),
      level,
      message,
      ...fields,
    }),
  );
};
