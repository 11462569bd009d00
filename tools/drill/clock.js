/** @typedef {Pick<import("../../lastcall/clock.ts").Clock, "now" | "after">} Clock */

/** The machine's own time, as a parameter of whatever has to wait. */
/** @type {Clock} */
export const systemClock = {
  now: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
};
