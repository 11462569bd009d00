import type { Log } from "#lastcall";
import type { Bookmark } from "./bookmark.ts";

export type Action = "created" | "updated" | "deleted" | "pruned";

/** Who wants to know what a bookmark was can prove it, and cannot read it. */
export interface AuditLine {
  id: string;
  at: string;
  action: Action;
  bookmarkId: string;
  /** SHA-256 of the bookmark's JSON after the action; of its last, if gone. */
  fingerprint: string;
}

/** How long a line may wait in memory, and how many are saved at once. */
const FLUSH_EVERY = 1000;
const BATCH = 100;

export async function auditLine(
  action: Action,
  bookmark: Bookmark,
): Promise<AuditLine> {
  const at = new Date().toISOString();
  const json = new TextEncoder().encode(JSON.stringify(bookmark));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", json));
  const fingerprint = [...digest]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const id = crypto.randomUUID();
  return { id, at, action, bookmarkId: bookmark.id, fingerprint };
}

/** Buffers lines and saves them in batches; `close` saves the last of them. */
export class AuditLog {
  /** What is not saved yet: a line leaves only when it is. */
  readonly #lines: AuditLine[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #saving: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly save: (lines: AuditLine[]) => Promise<void>,
    private readonly log: Log,
    private readonly flushEvery = FLUSH_EVERY,
  ) {}

  write(line: AuditLine): void {
    this.#lines.push(line);
    this.#timer ??= setTimeout(this.#flushBeside, this.flushEvery);
    // Not at each line beyond it: what could not be saved waits for the timer.
    if (this.#lines.length === BATCH) this.#flushBeside();
  }

  /** Resolves when all that was written is saved. */
  flush(): Promise<void> {
    return this.#saving ??= this.#saveAll().finally(() => {
      this.#saving = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    // One that fails was begun by a timer: its lines get another chance.
    await this.#saving?.catch(() => {});
    try {
      await this.flush();
    } finally {
      clearTimeout(this.#timer);
    }
  }

  async #saveAll(): Promise<void> {
    while (this.#lines.length > 0) {
      const batch = this.#lines.slice(0, BATCH);
      await this.save(batch);
      this.#lines.splice(0, batch.length);
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #flushBeside = (): void => {
    if (this.#saving) return; // it takes these lines too
    this.flush().catch((cause) => {
      const error = cause instanceof Error ? cause.message : String(cause);
      const { length: waiting } = this.#lines;
      this.log({
        level: "error",
        message: "audit lines not saved",
        waiting,
        error,
      });
      clearTimeout(this.#timer);
      this.#timer = this.#closed
        ? undefined
        : setTimeout(this.#flushBeside, this.flushEvery);
    });
  };
}
