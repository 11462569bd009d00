import { describe, test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import {
  isDatabaseUrl,
  readDatabaseUrl,
} from "../../src/bookmarks/database_url.ts";

describe("a DATABASE_URL", () => {
  const good: [text: string, means: ReturnType<typeof readDatabaseUrl>][] = [
    ["sqlite:./data/b.db", { kind: "sqlite", path: "./data/b.db" }],
    ["sqlite:/var/b.db", { kind: "sqlite", path: "/var/b.db" }],
    ["sqlite:///var/b.db", { kind: "sqlite", path: "/var/b.db" }],
    ["sqlite::memory:", { kind: "sqlite", path: ":memory:" }],
    ["./b.db", { kind: "sqlite", path: "./b.db" }],
    ["C:\\data\\b.db", { kind: "sqlite", path: "C:\\data\\b.db" }],
    [
      "postgres://me:sesame@db:5433/marks?sslmode=require",
      {
        kind: "postgres",
        url: "postgres://me:sesame@db:5433/marks?sslmode=require",
        place: "db:5433/marks",
      },
    ],
    [
      "postgresql://me@db/marks",
      {
        kind: "postgres",
        url: "postgresql://me@db/marks",
        place: "db/marks",
      },
    ],
  ];
  for (const [text, means] of good) {
    test(`${text} is understood`, () => {
      assertEquals(readDatabaseUrl(text), means);
    });
  }

  for (
    const text of [
      "mysql://me:sesame@db/marks",
      "file:./b.db",
      "sqlite:",
      "postgres://",
      "postgres://db/marks",
      "postgres://me:ses%ame@db/marks",
      "postgres://me:sesame@db:port/marks",
      '"postgres://me:sesame@db/marks"',
      "'./b.db'",
      " postgres://me:sesame@db/marks",
      " ./b.db",
      "me:sesame@db://marks",
    ]
  ) {
    test(`${text} is refused`, () => assert(!isDatabaseUrl(text)));
  }
});
