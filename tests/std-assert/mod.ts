/**
 * The part of `@std/assert` that our tests use, with the published signatures,
 * over `node:assert/strict`. It stands in because JSR cannot be reached from
 * every network; docs/testing.md says which two lines to change to use the original.
 *
 * Equality is Node's `deepStrictEqual`, which is a little stricter than the
 * original: `0` is not `-0`, and a null-prototype object is not `{}`.
 *
 * @module
 */
import node from "node:assert/strict";
import { inspect, isDeepStrictEqual } from "node:util";

/** A failed assertion. */
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

/** A constructor, whatever it takes and makes. */
// deno-lint-ignore no-explicit-any
export type AnyConstructor = new (...args: any[]) => any;

/** What a constructor makes. */
export type GetConstructorType<T extends AnyConstructor> = InstanceType<T>;

/** An array, or what has its shape, but no string. */
export type ArrayLikeArg<T> = ArrayLike<T> & object;

// deno-lint-ignore no-explicit-any
type ErrorConstructor<E extends Error> = new (...args: any[]) => E;

/** Runs one of Node's assertions; its error becomes ours, message first. */
function check(assertion: () => void, msg?: string): void {
  try {
    assertion();
  } catch (error) {
    const { message } = error as Error;
    throw new AssertionError(msg ? `${msg}\n${message}` : message);
  }
}

/** Whether two values are deeply equal. */
export function equal(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(a, b);
}

/** Fails. */
export function fail(msg?: string): never {
  throw new AssertionError(`Failed assertion${msg ? `: ${msg}` : "."}`);
}

/** `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** `actual` and `expected` are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  check(() => node.deepStrictEqual(actual, expected), msg);
}

/** `actual` and `expected` are not deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  check(() => node.notDeepStrictEqual(actual, expected), msg);
}

/** `actual` is `expected`, by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  check(() => node.strictEqual(actual, expected), msg);
}

/** `actual` matches `expected`. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  check(() => node.match(actual, expected), msg);
}

/** `actual` does not match `expected`. */
export function assertNotMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  check(() => node.doesNotMatch(actual, expected), msg);
}

/** `actual` contains `expected`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  holds(actual.includes(expected), actual, "to contain", expected, msg);
}

/** `actual` contains every element of `expected`. */
export function assertArrayIncludes<T>(
  actual: ArrayLikeArg<T>,
  expected: ArrayLikeArg<T>,
  msg?: string,
): void {
  const all = Array.from(actual);
  const missing = Array.from(expected).filter((wanted) =>
    !all.some((one) => equal(one, wanted))
  );
  holds(missing.length === 0, actual, "to include", missing, msg);
}

/** `actual > expected` */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  holds(actual > expected, actual, ">", expected, msg);
}

/** `actual >= expected` */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  holds(actual >= expected, actual, ">=", expected, msg);
}

/** `actual < expected` */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  holds(actual < expected, actual, "<", expected, msg);
}

/** `actual <= expected` */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  holds(actual <= expected, actual, "<=", expected, msg);
}

/** `actual` is neither null nor undefined. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  holds(actual != null, actual, "to be neither", [null, undefined], msg);
}

/** `actual` is an instance of `expectedType`. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is GetConstructorType<T> {
  holds(
    actual instanceof expectedType,
    actual,
    "to be an instance of",
    expectedType,
    msg,
  );
}

/** `actual` has everything that `expected` has, deeply; it may have more. */
export function assertObjectMatch(
  // deno-lint-ignore no-explicit-any
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  check(() => node.deepStrictEqual(common(actual, expected), expected), msg);
}

/** `fn` throws: anything, or an `ErrorClass` whose message has `msgIncludes`. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  classOrMsg?: ErrorConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  try {
    fn();
  } catch (error) {
    return expectedError(error, classOrMsg, msgIncludes, msg);
  }
  throw notThrown("throw", classOrMsg, msg);
}

/** Like {@linkcode assertThrows}, for the promise that `fn` returns. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (cause) {
    throw new AssertionError("Function throws when expected to reject.", {
      cause,
    });
  }
  try {
    await promise;
  } catch (error) {
    return expectedError(error, classOrMsg, msgIncludes, msg);
  }
  throw notThrown("reject", classOrMsg, msg);
}

function holds(
  truth: boolean,
  actual: unknown,
  relation: string,
  expected: unknown,
  msg?: string,
): void {
  if (truth) return;
  const sentence = `Expected ${inspect(actual)} ${relation} ${
    inspect(expected)
  }.`;
  throw new AssertionError(msg ? `${msg}\n${sentence}` : sentence);
}

function expectedError(
  error: unknown,
  classOrMsg: ErrorConstructor<Error> | string | undefined,
  msgIncludes: string | undefined,
  msg: string | undefined,
): unknown {
  if (typeof classOrMsg !== "function") return error;
  assertInstanceOf(error, classOrMsg, msg);
  if (msgIncludes) {
    assertStringIncludes((error as Error).message, msgIncludes, msg);
  }
  return error;
}

function notThrown(
  verb: string,
  classOrMsg: ErrorConstructor<Error> | string | undefined,
  msg: string | undefined,
): AssertionError {
  const why = typeof classOrMsg === "string" ? classOrMsg : msg;
  return new AssertionError(
    `Expected function to ${verb}${why ? `: ${why}` : "."}`,
  );
}

/** What of `actual` is also asked for in `expected`. */
function common(actual: unknown, expected: unknown): unknown {
  if (!isPlain(actual) || !isPlain(expected)) return actual;
  if (Array.isArray(actual) !== Array.isArray(expected)) return actual;
  const picked = Array.isArray(expected) ? [] : {};
  Object.setPrototypeOf(picked, Object.getPrototypeOf(expected));
  for (const key of Reflect.ownKeys(expected)) {
    if (!(key in actual) || key === "length") continue;
    Reflect.set(picked, key, common(actual[key], expected[key]));
  }
  return picked;
}

/** Compared part by part: arrays and objects, but not Map, Date, RegExp, ... */
function isPlain(value: unknown): value is Record<PropertyKey, unknown> {
  if (typeof value !== "object" || value === null) return false;
  return Array.isArray(value) ||
    Object.prototype.toString.call(value) === "[object Object]";
}
