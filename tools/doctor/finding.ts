/** What the doctor has to say about one thing. */
export interface Finding {
  /** An error loses requests, or will; a warning may. */
  level: "error" | "warning";
  what: string;
  why: string;
  todo: string;
}

/** What is found in one file, or in the environment. */
export interface Diagnosis {
  findings: Finding[];
  /** The servers it starts, and what each is told. */
  servers: Server[];
  /** How long a balancer takes to turn away from a red /readyz, at most. */
  noticing?: { ms: number; how: string };
}

/** A lastcall server, as the file that starts it has it. */
export interface Server {
  name: string;
  times: Times;
  /** What it is given before it is killed; none where nobody kills it. */
  grace?: { ms: number; setting: string };
  /** What comes before the signal. */
  preStop: number;
}

/** What the app is told of its own shutdown, in milliseconds. */
export interface Times {
  drainDelay: number;
  idleGrace: number;
  drainTimeout: number;
  cleanupTimeout: number;
}

export function error(what: string, why: string, todo: string): Finding {
  return { level: "error", what, why, todo };
}

export function warning(what: string, why: string, todo: string): Finding {
  return { level: "warning", what, why, todo };
}
