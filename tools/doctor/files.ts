import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const BESIDE =
  /^((docker-)?compose.*\.ya?ml|(Docker|Container)file.*|.*\.service)$/;

/**
 * What lies in `deploy/` of this folder, and beside it. Folders in `deploy/` are left
 * to whoever names their files: what an overlay has is half a manifest, and would
 * be blamed for the other half.
 */
export function filesOf(folder: string): string[] {
  const deploy = join(folder, "deploy");
  return [
    ...readdirSync(folder).filter((name) => BESIDE.test(name)),
    ...(existsSync(deploy) ? readdirSync(deploy) : [])
      .map((name) => `deploy/${name}`),
  ].filter((name) =>
    statSync(join(folder, name), { throwIfNoEntry: false })?.isFile()
  ).sort();
}
