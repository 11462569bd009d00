/** What many a variable is; a wrong value is answered with "expected" and this. */
import * as v from "valibot";

/** What a timer of any runtime can wait for, about 24.8 days. */
const LONGEST_TIME = 2 ** 31 - 1;

export function text(expected: string, fits: (text: string) => boolean) {
  return v.pipe(v.string(), v.check(fits, expected));
}

export function wholeNumber(max: number, expected: string) {
  const fits = (text: string) => /^[0-9]+$/.test(text) && Number(text) <= max;
  return v.pipe(text(expected, fits), v.transform(Number));
}

export const port = wholeNumber(
  65_535,
  "a whole number from 0 to 65535, such as 3000",
);

export const time = wholeNumber(
  LONGEST_TIME,
  `a whole number of milliseconds from 0 to ${LONGEST_TIME}, such as 500`,
);

export const host = text(
  "a host name or an IP address alone, such as 127.0.0.1",
  (host) => !/[\s/]/.test(host),
);

/** Separated by commas. */
export function list(fits: (one: string) => boolean, expected: string) {
  return v.pipe(
    v.string(),
    v.transform((text) => text.split(",").map((one) => one.trim())),
    v.check((all) => all.every(fits), expected),
  );
}

export const flag = v.pipe(
  v.picklist(["true", "false"], "true or false"),
  v.transform((text) => text === "true"),
);

/** Marks a variable whose value no message and no listing may show. */
export function secret<S extends v.GenericSchema>(schema: S) {
  return v.pipe(schema, v.metadata({ secret: true }));
}
