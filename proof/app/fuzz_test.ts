/** As proof/unit/fuzz_test.ts, through the runtime's own HTTP. */
import { assert, assertEquals } from "@std/assert";
import process from "node:process";
import { after, afterEach, test } from "node:test";
import { RawClient, requestBytes } from "../support/raw_client.ts";
import { killAll, removeScratch } from "../support/server_process.ts";
import {
  bodyOf,
  headersOf,
  pathOf,
  Random,
  within,
} from "../support/random.ts";
import { portOf, start } from "./app_process.ts";

afterEach(killAll);
after(removeScratch);

const ROUNDS = 400;

test("any bytes are answered or refused, and the server lives on", async () => {
  const random = new Random(process.env.SEED);
  const server = await start();
  const port = await portOf(server);
  for (let round = 0; round < ROUNDS; round++) {
    const method = random.pick([
      "GET",
      "POST",
      "PUT",
      "DELETE",
      "OPTIONS",
      "X",
    ]);
    // An event stream has no end, and what is no token ends the request line.
    const path = random.pick([
      encodeURI(pathOf(random)).replace("/events", "/"),
      pathOf(random).replace("/events", "/").replaceAll(/\s/g, ""),
    ]);
    const headers = Object.fromEntries(headersOf(random));
    const body = method === "GET" ? undefined : bodyOf(random);
    const bytes = requestBytes(method, path, {
      headers: { ...headers, Connection: "close" },
      ...(body === undefined ? {} : { body }),
    });
    const told = `seed ${random.seed}, round ${round}: ${method} ${path}`;
    const client = await RawClient.connect(port);
    await client.write(bytes);
    await within(8_000, client.closed, told);
    const [response] = client.responses;
    if (response) assert(response.status < 500, `${told}: ${response.status}`);
  }
  const client = await RawClient.connect(port);
  assertEquals((await client.get("/")).status, 200);
  client.leave();
  server.signal("SIGTERM");
  const { code } = await server.exited;
  assertEquals(code, 0, server.describe());
  assertEquals(server.report().outcome, "clean");
  assertEquals(server.output("stderr"), "");
  // What it was warned of at its start is not the clients' doing.
  const served = server.lines.slice(
    server.lines.findIndex(({ json }) => json?.message === "server listening"),
  );
  const wrong = served.filter(({ json }) => json?.level !== "info");
  assertEquals(wrong.map(({ text }) => text), []);
});
