/**
 * What a client can say, at random: never a 500, never a hang. A failure prints
 * its seed; `SEED=123 npm run proof -- unit/fuzz` repeats it.
 */
import { assert } from "@std/assert";
import process from "node:process";
import { test } from "node:test";
import {
  bodyOf,
  headersOf,
  pathOf,
  Random,
  within,
} from "../support/random.ts";
import { setup } from "../../tests/app_setup.ts";

const ROUNDS = 3_000;
const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "PROPFIND",
  "M-SEARCH",
];

for (const env of [{}, { CORS_ORIGINS: "https://a.example" }]) {
  test(`any request is answered, ${JSON.stringify(env)}`, async () => {
    const random = new Random(process.env.SEED);
    const { app, flush, lines } = setup(env);
    for (let round = 0; round < ROUNDS; round++) {
      const method = random.pick(METHODS);
      const url = `http://localhost${pathOf(random)}`;
      const body = method === "GET" || method === "HEAD"
        ? undefined
        : bodyOf(random);
      let request: Request;
      try {
        const headers = new Headers();
        for (const [name, value] of headersOf(random)) {
          headers.append(name, value);
        }
        request = new Request(url, {
          method,
          headers,
          ...(body ? { body } : {}),
        });
      } catch {
        continue; // no client could have sent it
      }
      const told = `seed ${random.seed}, round ${round}: ${method} ${url}`;
      const response = await within(5_000, app.fetch(request), told);
      assert(response.status !== 500, told);
      assert(response.status < 500, `${told}: ${response.status}`);
      // An event stream has no end of its own.
      await response.body?.cancel();
      flush();
      for (const line of lines.splice(0)) {
        const { level, requestId } = JSON.parse(line);
        assert(level === "info", `${told}: ${line}`);
        assert(/^[\w=-]{1,255}$/.test(requestId), `${told}: ${line}`);
      }
    }
  });
}
