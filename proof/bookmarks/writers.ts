/** Clients that write until the server takes no more, and keep the books. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Action } from "../../src/bookmarks/audit_log.ts";
import type { Bookmark } from "../../src/bookmarks/bookmark.ts";
import { Cut, RawClient, text } from "../support/raw_client.ts";
import type { TestDatabase } from "../../tests/bookmarks/databases.ts";
import type { Random } from "./random.ts";

/** A write that the server has said is done. */
interface Acknowledged {
  action: Action;
  id: string;
  /** SHA-256 of the response's body, if it had one. */
  fingerprint: string | undefined;
}

export class Writers {
  readonly acknowledged: Acknowledged[] = [];
  /** How each bookmark was left; undefined where the last answer is missing. */
  readonly left = new Map<string, Bookmark | "deleted" | undefined>();
  /** Answers that were neither right nor a refusal to begin. */
  readonly failures: string[] = [];
  #watchers: (() => void)[] = [];

  constructor(
    private readonly port: number,
    private readonly random: Random,
  ) {}

  /** Resolves when the server is gone. */
  async run(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.#write()));
  }

  /** Resolves with the `count`th acknowledgement, before any other is read. */
  acknowledgements(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#watchers.push(() => {
        if (this.acknowledged.length === count) resolve();
      });
    });
  }

  /** What is not in the database as it was acknowledged, in sentences. */
  async missing(database: TestDatabase): Promise<string[]> {
    const rows = new Map(
      (await database.bookmarks()).map((row) => [row.id, row]),
    );
    return [...this.left].flatMap(([id, expected]) => {
      const row = rows.get(id);
      if (!row) return [`${id} is not stored`];
      if (expected === undefined) return [];
      const { deleted, ...bookmark } = row;
      const [is, was] = [JSON.stringify(bookmark), JSON.stringify(expected)];
      if (expected === "deleted") {
        return deleted ? [] : [`${id} is not deleted`];
      }
      return is === was && !deleted ? [] : [`${id} is ${is}, was ${was}`];
    });
  }

  /** Which acknowledged writes the audit log does not tell of exactly once. */
  async unaudited(database: TestDatabase): Promise<string[]> {
    const lines = await database.auditLines();
    return this.acknowledged.flatMap(({ action, id, fingerprint }) => {
      const found = lines.filter((line) =>
        line.action === action && line.bookmarkId === id &&
        (fingerprint === undefined || line.fingerprint === fingerprint)
      ).length;
      return found === 1 ? [] : [`${action} ${id} has ${found} audit lines`];
    });
  }

  async #write(): Promise<void> {
    const own: string[] = [];
    let client: RawClient | undefined;
    while (true) {
      if (!client || client.ending) {
        try {
          client = await RawClient.connect(this.port);
        } catch {
          return;
        }
      }
      await this.#one(client, own);
      const told = client.responses.at(-1)?.headers.get("connection");
      if (told?.toLowerCase() === "close") {
        client.leave();
        client = undefined;
      }
    }
  }

  async #one(client: RawClient, own: string[]): Promise<void> {
    const id = own.length > 0 && this.random.chance(0.5)
      ? this.random.one(own)
      : undefined;
    const action: Action = id === undefined
      ? "created"
      : this.random.chance(0.2)
      ? "deleted"
      : "updated";
    if (id !== undefined) this.left.set(id, undefined);
    if (action === "deleted") own.splice(own.indexOf(id!), 1);

    const title = `n° ${this.random.between(0, 1_000_000)}`;
    void client.send(
      { created: "POST", updated: "PATCH", deleted: "DELETE", pruned: "" }[
        action
      ],
      id === undefined ? "/bookmarks" : `/bookmarks/${id}`,
      action === "deleted" ? {} : {
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(
          id === undefined
            ? { url: "https://example.com/", title, tags: ["a", "ü"] }
            : { title },
        ),
      },
    );
    try {
      const response = await client.response();
      const { status, headers } = response;
      if (status === 503 && headers.has("retry-after")) return;
      const body = text(response);
      if (status < 200 || status > 299) {
        this.failures.push(`${action} was answered ${status}: ${body}`);
        return;
      }
      const bookmark: Bookmark | "deleted" = action === "deleted"
        ? "deleted"
        : JSON.parse(body);
      const known = bookmark === "deleted" ? id! : bookmark.id;
      this.left.set(known, bookmark);
      if (action === "created") own.push(known);
      this.acknowledged.push({
        action,
        id: known,
        fingerprint: body ? sha256(body) : undefined,
      });
      this.#watchers.forEach((look) => look());
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
    }
  }
}

function sha256(text: string): string {
  return createHash("sha256").update(Buffer.from(text)).digest("hex");
}
