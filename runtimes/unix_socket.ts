import { ListenError } from "./runtime.ts";

/**
 * A process that was killed leaves its socket file behind, and nobody can listen
 * there again until it is gone. Whether somebody still does, only a connection
 * tells.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const { lstat, unlink } = await import("node:fs/promises");
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  // Whatever else stands there is not ours to remove.
  if (!found.isSocket()) {
    throw new ListenError(
      "other",
      "what stands there is no socket; remove it, or choose another path",
    );
  }
  if (await isAlive(path)) throw new ListenError("in use", "EADDRINUSE");
  await unlink(path).catch(() => {});
}

/** At the end, for a runtime that does not do it. */
export async function removeSocket(path: string): Promise<void> {
  const { unlink } = await import("node:fs/promises");
  await unlink(path).catch(() => {});
}

async function isAlive(path: string): Promise<boolean> {
  const { connect } = await import("node:net");
  return await new Promise((resolve) => {
    const socket = connect(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    // A full backlog is a live one, too (EAGAIN).
    socket.on(
      "error",
      (error: NodeJS.ErrnoException) => resolve(error.code === "EAGAIN"),
    );
  });
}
