/** What a person can mend: it is told in its own words, without a stack trace. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {number} exitCode 1, or 78 where the options are wrong
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
