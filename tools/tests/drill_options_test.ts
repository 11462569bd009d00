// What a drill is told, and what it says about that.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { inTurn, parseMix, requestBytes } from "../drill/mix.js";
import { HELP, readOptions } from "../drill/options.js";
import { splitWords } from "../drill/words.js";

const own = ["node", "dist/main.js"];

function options(...args: string[]) {
  const read = readOptions(args, own);
  assert(read.ok, JSON.stringify(read));
  assert(read.options !== "help");
  return read.options;
}

function problems(...args: string[]) {
  const read = readOptions(args, own);
  assert(!read.ok, "it was taken for right");
  return read.problems;
}

describe("the options", () => {
  test("all have a default", () => {
    assertEquals(options(), {
      command: own,
      target: undefined,
      signalCommand: [],
      rate: 200,
      connections: 20,
      mix: [{ method: "GET", path: "/", weight: 1 }],
      headers: [],
      body: undefined,
      restarts: 3,
      between: 3000,
      overlap: false,
      signal: "SIGTERM",
      timeout: 10_000,
      maxDropped: 0,
      maxRaced: Infinity,
      json: undefined,
      html: "drill.html",
    });
  });

  test("are what was given", () => {
    const given = options(
      ...["--command", "deno run 'my server.ts' --port={port}"],
      ...["--rate=50", "--connections", "5", "--restarts", "1"],
      ...["--mix", "GET / 80, POST /x 20", "--between", "0.5", "--overlap"],
      ...["--signal", "SIGINT", "--timeout", "2", "--max-dropped", "7"],
      ...["--max-raced", "0", "--json", "a.json", "--html", "b.html"],
    );
    assertEquals(given, {
      command: ["deno", "run", "my server.ts", "--port={port}"],
      target: undefined,
      signalCommand: [],
      rate: 50,
      connections: 5,
      mix: [
        { method: "GET", path: "/", weight: 80 },
        { method: "POST", path: "/x", weight: 20 },
      ],
      headers: [],
      body: undefined,
      restarts: 1,
      between: 500,
      overlap: true,
      signal: "SIGINT",
      timeout: 2000,
      maxDropped: 7,
      maxRaced: 0,
      json: "a.json",
      html: "b.html",
    });
  });

  test("a target goes with what restarts it", () => {
    const given = options(
      ...["--target", "http://[::1]:8080"],
      ...["--signal-command", "systemctl restart app"],
    );
    assertEquals(given.target, { host: "::1", port: 8080 });
    assertEquals(given.signalCommand, ["systemctl", "restart", "app"]);
    assertEquals(
      options("--target", "http://a", "--signal-command", "b").target,
      { host: "a", port: 80 },
    );
  });

  test("--help is no problem", () => {
    assertEquals(readOptions(["--help", "--rate", "x"], own), {
      ok: true,
      options: "help",
    });
  });

  test("every one is told of in the help", () => {
    const [unknown] = problems("--nonsense");
    assertEquals(unknown, "--nonsense is no option; --help lists them.");
    for (const name of Object.keys(VALUES)) {
      assertStringIncludes(HELP, `--${name}`);
    }
  });

  const VALUES = {
    command: "node a | b",
    target: "https://secure",
    rate: "0",
    connections: "1.5",
    mix: "get /",
    restarts: "-1",
    between: "soon",
    signal: "TERM",
    timeout: "0",
    "max-dropped": "none",
    "max-raced": "1e3",
  };

  test("everything that is wrong is told at once", () => {
    const args = Object.entries(VALUES).map(([name, value]) =>
      `--${name}=${value}`
    );
    assertEquals(problems(...args, "stray", "--html", "", "--overlap=no"), [
      '"stray" stands alone; expected options only. Put a command of several ' +
      "words in quotes.",
      "--html has no value; --help tells of each.",
      "--overlap takes no value.",
      '--mix has "get /" in it; expected a method, a path and how often, ' +
      'separated by commas, such as "GET / 80, POST /x 20".',
      '--signal is "TERM"; expected a name such as SIGINT.',
      '--target is "https://secure"; expected an http:// address alone, such ' +
      "as http://10.0.0.7:8080.",
      "--target is given without --signal-command; expected the command that " +
      "restarts what is running there.",
      "--target and --command do not go together; choose one.",
      "--target and --overlap do not go together; choose one.",
      "--target and --signal do not go together; choose one.",
      "--command has a |, which only a shell understands; put quotes around " +
      "it, or write sh -c '...'.",
      '--rate is "0"; expected a whole number from 1 to 100000.',
      '--connections is "1.5"; expected a whole number from 1 to 10000.',
      '--restarts is "-1"; expected a whole number from 1 to 10000.',
      '--between is "soon"; expected seconds, such as 2.5, up to 86400.',
      '--timeout is "0"; expected seconds, such as 2.5, up to 86400.',
      '--max-dropped is "none"; expected a whole number from 0 to ' +
      "9007199254740991.",
      '--max-raced is "1e3"; expected a whole number from 0 to ' +
      "9007199254740991.",
    ]);
  });

  test("one that lacks its value does not take the next one for it", () => {
    assertEquals(problems("--json", "--overlap", "--rate", "--mix", "GET /"), [
      "--json has no value; --help tells of each.",
      "--rate has no value; --help tells of each.",
    ]);
    assertEquals(options("--rate", "5", "--overlap").overlap, true);
    assertEquals(options("--command", "a --json --rate").command.length, 3);
  });

  test("may come after the -- of deno task", () => {
    assertEquals(options("--", "--rate", "5").rate, 5);
    assertEquals(problems("--rate", "5", "--", "--json").length, 1);
  });

  test("--help takes no value", () => {
    assertEquals(problems("--help=no"), ["--help takes no value."]);
  });

  test("all the routes are in one --mix", () => {
    assertEquals(problems("--mix", "GET /a", "--mix=GET /b"), [
      "--mix is given 2 times; expected one with all the routes, such as " +
      '"GET / 80, POST /x 20".',
    ]);
  });

  test("a target is a host and a port alone", () => {
    for (
      const target of [
        "http://user@host",
        "http://user:secret@host:80",
        "http://host/#part",
        "http://host/path",
        "http://host/?query",
        "http://host:0",
        "host:80",
      ]
    ) {
      assertEquals(problems("--target", target, "--signal-command", "a"), [
        `--target is "${target}"; expected an http:// address alone, such as ` +
        "http://10.0.0.7:8080.",
      ]);
    }
  });

  test("what restarts a target goes with one", () => {
    assertEquals(problems("--signal-command", "a"), [
      "--signal-command is given without --target; expected both, or " +
      "--command alone.",
    ]);
  });
});

test("a command line is split as a shell would, and needs none", () => {
  assertEquals(splitWords(` node  "a b" c'd e'f "" `), {
    ok: true,
    words: ["node", "a b", "cd ef", ""],
  });
  assertEquals(splitWords("sh -c 'a && b > c'"), {
    ok: true,
    words: ["sh", "-c", "a && b > c"],
  });
  // As README.md has it.
  const rollout = "kubectl rollout restart deployment/app && " +
    "kubectl rollout status deployment/app";
  assertEquals(splitWords(`sh -c '${rollout}'`), {
    ok: true,
    words: ["sh", "-c", rollout],
  });
  assertEquals(splitWords('node "a'), {
    ok: false,
    why: 'has a " that is never closed',
  });
  assertEquals(splitWords("  "), { ok: false, why: "is empty" });
});

describe("the mix", () => {
  test("is sent evenly, each route as often as it weighs", () => {
    const read = parseMix("GET /a 3, GET /b, POST /c 1");
    assert(read.ok);
    const turns = inTurn(read.routes);
    const first = Array.from({ length: 10 }, () => turns.next().value);
    assertEquals(first, [0, 1, 0, 2, 0, 0, 1, 0, 2, 0]);
  });

  test("a request that may have a body brings one", () => {
    assertEquals(
      requestBytes({ method: "POST", path: "/x?y=1", weight: 1 }, "host:1")
        .toString(),
      "POST /x?y=1 HTTP/1.1\r\nHost: host:1\r\nUser-Agent: lastcall-drill\r\n" +
        "Accept: */*\r\nContent-Type: application/json\r\n" +
        'Content-Length: 14\r\n\r\n{"drill":true}',
    );
    assertEquals(
      requestBytes({ method: "GET", path: "/", weight: 1 }, "h").toString()
        .endsWith(
          "*/*\r\n\r\n",
        ),
      true,
    );
  });

  test("headers and a body of one's own go with it", () => {
    const given = options(
      ...["--header", "Authorization: Bearer a:b", "--header=X-Empty:"],
      ...["--header", "content-type: text/plain ", "--body", "caf\u00e9"],
    );
    const sent = (method: string) =>
      requestBytes(
        { method, path: "/", weight: 1 },
        "h",
        given.headers,
        given.body,
      ).toString();
    assertEquals(
      sent("PUT"),
      "PUT / HTTP/1.1\r\nHost: h\r\nUser-Agent: lastcall-drill\r\n" +
        "Accept: */*\r\nAuthorization: Bearer a:b\r\nX-Empty: \r\n" +
        "content-type: text/plain\r\nContent-Length: 5\r\n\r\ncaf\u00e9",
    );
    assert(sent("GET").endsWith("text/plain\r\n\r\n"));
  });

  test("a body comes from a file as it is", () => {
    const folder = mkdtempSync(join(tmpdir(), "lastcall-drill-"));
    const file = join(folder, "body");
    try {
      writeFileSync(file, new Uint8Array([0, 255, 13, 10]));
      assertEquals([...options("--body", `@${file}`).body!], [0, 255, 13, 10]);
    } finally {
      rmSync(folder, { recursive: true });
    }
    const [problem = ""] = problems("--body", `@${file}`);
    assertStringIncludes(problem, "--body names a file that cannot be read: ");
  });

  describe("a file of requests", () => {
    const read = (content: unknown) => {
      const folder = mkdtempSync(join(tmpdir(), "lastcall-drill-"));
      const file = join(folder, "requests.json");
      writeFileSync(file, JSON.stringify(content));
      try {
        return readOptions(["--requests", file], own);
      } finally {
        rmSync(folder, { recursive: true });
      }
    };

    test("has headers and a body for each", () => {
      const taken = read([
        { path: "/", weight: 3 },
        {
          method: "DELETE",
          path: "/orders/1",
          headers: { Authorization: "Bearer x", Accept: "text/plain" },
          body: "caf\u00e9",
        },
        { path: "/" },
      ]);
      assert(taken.ok && taken.options !== "help", JSON.stringify(taken));
      const { mix } = taken.options;
      assertEquals(mix.map(({ weight }) => weight), [4, 1]);
      assertEquals(
        requestBytes(mix[1]!, "h", [["accept", "a"], ["X-All", "1"]])
          .toString(),
        "DELETE /orders/1 HTTP/1.1\r\nHost: h\r\nUser-Agent: lastcall-drill\r\n" +
          "Content-Type: application/json\r\nX-All: 1\r\n" +
          "Authorization: Bearer x\r\nAccept: text/plain\r\n" +
          "Content-Length: 5\r\n\r\ncaf\u00e9",
      );
    });

    test("may be what a browser has recorded", () => {
      const headers = [
        { name: ":authority", value: "a.example" },
        { name: "Host", value: "a.example" },
        { name: "Content-Length", value: "3" },
        { name: "Cookie", value: "id=1" },
      ];
      const get = { method: "GET", url: "https://a.example/x?y=1", headers };
      const post = {
        method: "POST",
        url: "https://a.example/z",
        headers: [],
        postData: { mimeType: "text/plain", text: "abc" },
      };
      const entries = [get, post, get].map((request) => ({ request }));
      const taken = read({ log: { entries } });
      assert(taken.ok && taken.options !== "help", JSON.stringify(taken));
      assertEquals(taken.options.mix, [
        {
          method: "GET",
          path: "/x?y=1",
          weight: 2,
          headers: [["Cookie", "id=1"]],
        },
        { method: "POST", path: "/z", weight: 1, headers: [], body: "abc" },
      ]);
    });

    test("is refused by the first that cannot be sent", () => {
      const wrong: [unknown, string][] = [
        [[], "has no requests; expected a list, or a HAR"],
        [{}, "has no requests; expected a list, or a HAR"],
        [[{ path: "x" }], 'with the path "x"; expected one such as "/orders"'],
        [[{ path: "/ a" }], "printable ASCII"],
        [
          [{ path: "/", weight: 0 }],
          "with the weight 0; expected a whole number",
        ],
        [[{ path: "/", method: "get" }], 'with the method "get"'],
        [[{ path: "/", method: "CONNECT" }], "for proxies"],
        [[{ path: "/" }, { path: "/", times: 2 }], '(number 2) with "times"'],
        [
          [{ path: "/", headers: { "Host": "a" } }],
          "which the drill sets itself",
        ],
        [[{ path: "/", headers: { "X": "a\r\nY: b" } }], "expected a name and"],
        [[{ path: "/", body: {} }], "whose body is no text"],
        [[null], "with the path undefined"],
      ];
      for (const [content, why] of wrong) {
        const taken = read(content);
        assert(!taken.ok, JSON.stringify(content));
        assertStringIncludes(taken.problems.join(), why);
      }
      assertStringIncludes(
        problems("--requests=nowhere.json", "--mix=GET /").join("\n"),
        "--requests cannot be read: ENOENT",
      );
      assertStringIncludes(
        problems("--requests=nowhere.json", "--mix=GET /").join("\n"),
        "--requests and --mix do not go together",
      );
    });
  });

  test("a header that would end the head, or the request, is refused", () => {
    assertEquals(
      problems(
        ...["--header", "X: a\r\nY: b", "--header", "no colon"],
        ...["--header", "Content-Length: 5", "--header", "X: \u20ac"],
      ).map((problem) => problem.replace(/^--header is |;.*$/g, "")),
      [
        '"X: a\\r\\nY: b"',
        '"no colon"',
        "Content-Length, which the drill sets itself.",
        '"X: \u20ac"',
      ],
    );
  });

  test("a path is one that can be sent as it is", () => {
    for (const path of ["/caf\u00e9", "/a#b", "/\u0001"]) {
      assertEquals(parseMix(`GET ${path} 2`), {
        ok: false,
        why: `has the path ${JSON.stringify(path)} in it, and a path is of ` +
          "printable ASCII, without #",
      });
    }
    assert(parseMix('GET /a?b=%20~!"c').ok);
  });

  test("nothing but methods and paths is one", () => {
    for (
      const wrong of ["", "GET", "GET x", "GET / 0", "GET /,", "GET / 1 2"]
    ) {
      assertEquals(parseMix(wrong).ok, false, wrong);
    }
  });
});
