/** A pause that can be cut short. */
/** @param {number} ms */
export function pause(ms) {
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  /** @type {Promise<void>} */
  const over = new Promise((resolve) => timer = setTimeout(resolve, ms));
  return { over, cancel: () => clearTimeout(timer) };
}
