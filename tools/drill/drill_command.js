import { killAll } from "./alive.js";
import { pause } from "./pause.js";
import { Problem } from "./problem.js";
import { Server } from "./server.js";

/** @import { Life, Say } from "./drill.js" */
/** @import { Load } from "./load.js" */
/** @import { Options } from "./options.js" */

/**
 * Starts the server, signals it and starts it again, under load.
 *
 * @param {Options} options
 * @param {number} port
 * @param {Load} load
 * @param {Say} say
 */
export async function drillCommand(options, port, load, say) {
  const { command, overlap, signal, restarts, between } = options;
  /** @type {Server[]} */
  const servers = [];
  /** @type {string[]} */
  const mishaps = [];

  /** @param {boolean} besideAnother */
  const start = async (besideAnother) => {
    say("starting");
    const server = new Server(command, port, overlap);
    servers.push(server);
    await server.ready(besideAnother);
    return server;
  };

  try {
    let server = await start(false);
    load.start();
    for (let n = 1; n <= restarts && mishaps.length === 0; n++) {
      say(`serving, before restart ${n} of ${restarts}`);
      if (await endsWithin(server, between)) break;
      try {
        const next = overlap ? await start(true) : undefined;
        if (server.exitAt !== undefined) break; // There is nothing to signal.
        say(`${signal}, restart ${n} of ${restarts}`);
        await server.end(signal);
        say(server.ending());
        if (server.killed) {
          mishaps.push(
            `The server was ${server.ending()} of waiting, in restart ${n}; ` +
              `expected it to end after ${signal}.`,
          );
        }
        server = next ?? await start(false);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        mishaps.push(error.message);
      }
    }
    if (mishaps.length === 0 && server.exitAt === undefined) {
      say("serving, after the last restart");
      await endsWithin(server, between);
    }
    await load.stop();
    if (server.exitAt !== undefined && server.signalAt === undefined) {
      mishaps.push(
        `The server ended by itself (${server.ending()}); expected it to ` +
          "serve until the signal.",
      );
    }

    // What follows is no drill: nobody asks any more.
    const end = performance.now();
    const lives = servers.map((server) => lifeOf(server));
    if (server.exitAt === undefined) await server.end(signal);
    return { lives, mishaps, end };
  } finally {
    killAll();
  }
}

/** @param {Server} server @returns {Life} */
function lifeOf(server) {
  const { startedAt, readyAt, signalAt, exitAt, report, reportAt } = server;
  const { exitCode, exitSignal } = server;
  const ending = exitAt === undefined ? undefined : server.ending();
  const exit = { exitAt, ending, exitCode, exitSignal };
  return { startedAt, readyAt, signalAt, ...exit, report, reportAt };
}

/** @param {Server} server @param {number} ms @returns {Promise<boolean>} */
async function endsWithin(server, ms) {
  const { over, cancel } = pause(ms);
  const ended = await Promise.race([
    over.then(() => false),
    server.exited.then(() => true),
  ]);
  cancel();
  return ended;
}
