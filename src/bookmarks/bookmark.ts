import * as v from "valibot";

/** What a client may say of a bookmark. */
export interface BookmarkFields {
  url: string;
  title: string;
  tags: string[];
}

export interface Bookmark extends BookmarkFields {
  readonly id: string;
  /** ISO 8601 in UTC, as Date.toISOString has it. */
  readonly createdAt: string;
  readonly updatedAt: string;
}

const URL_EXPECTED =
  "expected an http or https URL of at most 2048 characters, such as https://example.com/";

const url = v.pipe(
  v.string(URL_EXPECTED),
  v.check(isWebAddress, URL_EXPECTED),
);

const fields = {
  url,
  title: text(200),
  tags: v.pipe(
    v.array(text(50), "expected a list of tags"),
    v.maxLength(20, "expected at most 20 tags"),
    v.transform((tags) => [...new Set(tags)]),
  ),
};

/** The body of a POST. */
export const newBookmark = objectOf({
  ...fields,
  tags: v.optional(fields.tags, []),
});

/** The body of a PATCH: what it does not name stays as it was. */
export const bookmarkChanges = objectOf({
  url: v.exactOptional(fields.url),
  title: v.exactOptional(fields.title),
  tags: v.exactOptional(fields.tags),
});

function objectOf<Entries extends v.ObjectEntries>(entries: Entries) {
  return v.pipe(
    // To valibot a list is an object too.
    v.custom<object>(
      (body) =>
        typeof body === "object" && body !== null && !Array.isArray(body),
      "expected a JSON object",
    ),
    // What is no field is refused by name: it may be a misspelling.
    v.objectWithRest(entries, v.never("is no field of a bookmark")),
  );
}

/**
 * Control characters and halves of surrogate pairs are refused: one of our
 * databases cannot store them, and nobody has typed them.
 */
function text(longest: number) {
  const expected =
    `expected a text of 1 to ${longest} characters, no control characters`;
  return v.pipe(
    v.string(expected),
    v.trim(),
    v.check(
      (text) =>
        text.length >= 1 && text.length <= longest &&
        !/[\p{Cc}\p{Cs}]/u.test(text),
      expected,
    ),
  );
}

/** A `javascript:` URL in a list of links would run in the reader's page. */
function isWebAddress(text: string): boolean {
  return text.length <= 2048 && /^https?:\/\//i.test(text) &&
    !/[\s\p{Cc}\p{Cs}]/u.test(text) && URL.canParse(text);
}
