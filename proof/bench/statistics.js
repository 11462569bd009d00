// What many noisy numbers come to.

/** @typedef {{ median: number, low: number, high: number }} Spread */

/** The middle half: outliers are the machine's, not the contender's. */
/** @param {number[]} values @returns {Spread} */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    low: quantile(sorted, 0.25),
    high: quantile(sorted, 0.75),
  };
}

/** @param {number[]} values */
export function median(values) {
  return spread(values).median;
}

/** @param {number[]} values */
export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** @param {number[]} sorted @param {number} share */
function quantile(sorted, share) {
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)] ?? NaN;
  const above = sorted[Math.ceil(place)] ?? NaN;
  return below + (above - below) * (place - Math.floor(place));
}

/**
 * Everyone's turn, round by round, odd rounds in reverse: what drifts meets all
 * alike. One list of results per contender, in the order of the contenders.
 *
 * @template Contender, Result
 * @param {number} rounds
 * @param {Contender[]} contenders
 * @param {(contender: Contender) => Promise<Result>} turn
 */
export async function inTurns(rounds, contenders, turn) {
  /** @type {Result[][]} */
  const results = contenders.map(() => []);
  const there = [...contenders.entries()];
  const back = [...there].reverse();
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of round % 2 ? back : there) {
      results[index]?.push(await turn(contender));
    }
  }
  return results;
}
