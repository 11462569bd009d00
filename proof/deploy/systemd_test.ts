/** The unit, as systemd itself reads it, where that is installed. */
import { assertEquals } from "@std/assert";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";
import { test } from "node:test";

const unit = fs.readFileSync("deploy/lastcall@.service", "utf8");
const installed = !spawnSync("systemd-analyze", ["--version"]).error;

test("systemd has nothing to say against the unit", {
  skip: installed ? false : "systemd-analyze is not installed",
}, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "lastcall-unit-"));
  try {
    const verify = (text: string) => {
      const file = path.join(folder, "lastcall@3001.service");
      // It looks whether the program is there.
      fs.writeFileSync(file, text.replace("/usr/bin/node", process.execPath));
      const { status, stdout, stderr } = spawnSync(
        "systemd-analyze",
        ["verify", file],
        { encoding: "utf8" },
      );
      return { status, output: stdout + stderr };
    };
    assertEquals(verify(unit), { status: 0, output: "" });
    // It only warns of a setting that it does not know.
    const misspelt = verify(unit.replace("KillMode=", "KilMode="));
    assertEquals(misspelt.output.includes("'KilMode'"), true);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});
