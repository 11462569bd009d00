import * as runtime from "#runtime";
import { assertEquals } from "@std/assert";
import { describe, test } from "node:test";
import {
  denoSizeOf,
  isRight,
  type SizeOf,
} from "../../runtimes/response_size.ts";
import type { Runtime } from "../../runtimes/runtime.ts";

const here: Runtime = runtime;

/** One that knows: it is told of every body there is. */
const all = new WeakMap<Response, number | undefined>();
const Original = Response;

/** Runs `act` with responses that note their size. */
function withNotes(act: () => void): void {
  class Noting extends Original {
    constructor(
      body?: ConstructorParameters<typeof Response>[0],
      init?: ResponseInit,
    ) {
      super(body, init);
      const size = body instanceof ReadableStream
        ? undefined
        : body instanceof Uint8Array || typeof body === "string"
        ? body.length
        : 0;
      all.set(this, size);
    }
    static override json(data: unknown): Response {
      return new Noting(JSON.stringify(data));
    }
  }
  globalThis.Response = Noting;
  try {
    act();
  } finally {
    globalThis.Response = Original;
  }
}

describe("the size of a response", () => {
  const right: SizeOf = (response) => all.get(response);

  test("is believed of one who is right about all that is known", () => {
    withNotes(() => assertEquals(isRight(right), true));
  });

  const wrong: Record<string, SizeOf> = {
    "takes every body for a stream": () => undefined,
    "takes no body for a stream": (response) => right(response) ?? 0,
    "finds all bodies empty": (response) => right(response) && 0,
    "loses one whose headers were changed": (response) =>
      response.headers.has("X-Changed") ? 0 : right(response),
    "throws": () => {
      throw new TypeError("no such property");
    },
  };
  for (const [what, sizeOf] of Object.entries(wrong)) {
    test(`is not believed of one who ${what}`, () => {
      withNotes(() => assertEquals(isRight(sizeOf), false));
    });
  }

  test("is where Deno keeps it, and nowhere else", () => {
    assertEquals(isRight(denoSizeOf()), here.name === "deno");
  });
});
