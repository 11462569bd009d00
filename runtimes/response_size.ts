/** How many bytes, about, are at hand for the body; undefined for a stream. */
export type SizeOf = (response: Response) => number | undefined;

const samples: [make: () => Response, size: number | undefined][] = [
  [() => new Response("abc"), 3],
  [() => new Response(new Uint8Array(3)), 3],
  [() => new Response(null), 0],
  [() => Response.json("a"), 3],
  [() => new Response(new ReadableStream()), undefined],
];

/**
 * Whether `sizeOf` is right about responses that are known. Some with a header
 * set afterwards: a runtime may keep those elsewhere.
 */
export function isRight(sizeOf: SizeOf): boolean {
  try {
    return samples.every(([make, size]) => {
      const changed = make();
      changed.headers.set("X-Changed", "yes");
      return sizeOf(make()) === size && sizeOf(changed) === size;
    });
  } catch {
    return false;
  }
}

/**
 * Looks where Deno keeps the body: to ask `response.body` would make a stream of
 * each, at 15 % of the throughput. It is no promise of Deno's, so `isRight` has
 * to be asked first.
 */
export function denoSizeOf(): SizeOf {
  const symbols = Object.getOwnPropertySymbols(new Response("abc"));
  const find = (name: string) =>
    symbols.find(({ description }) => description === name) ?? Symbol();
  const inner = find("response");
  // A string that nobody has asked for yet.
  const lazy = find("lazy static body");
  return (response) => {
    // deno-lint-ignore no-explicit-any
    const at = response as any;
    const body = at[inner].body?.streamOrStatic;
    if (body === undefined) return at[lazy] === null ? 0 : at[lazy].length;
    return body instanceof ReadableStream ? undefined : body.body.length;
  };
}
