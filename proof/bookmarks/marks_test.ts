/** The example can be seen whole at one glance: where it touches what stays. */
import { assert } from "@std/assert";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";

test("the example's marks are at most 20, in at most 8 files", () => {
  const mark = /example:(line|begin|end)( -->)?$/gm;
  const marks = execFileSync("git", ["ls-files", "-z"], { encoding: "utf8" })
    .split("\0").filter((file) =>
      file && !/^(tools\/eject\.js|proof\/)/.test(file)
    )
    .flatMap((file) => {
      let count = 0;
      try {
        count = [...readFileSync(file, "utf8").matchAll(mark)].length;
      } catch {
        // Removed, and not committed yet; or a folder's link.
      }
      return count > 0 ? [{ file, count }] : [];
    });
  const sum = marks.reduce((sum, { count }) => sum + count, 0);
  const said = JSON.stringify(marks);
  assert(marks.length > 0, "no mark was found: this test looks wrong");
  assert(sum <= 20 && marks.length <= 8, said);
});
