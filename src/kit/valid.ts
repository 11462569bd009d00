import { validator } from "hono/validator";
import * as v from "valibot";
import { Problem } from "./problem.ts";

/** An answer is not to be longer than the request because all of it is wrong. */
const MOST_ERRORS = 20;
const LONGEST_FIELD = 100;

/** What the schema makes of a part of the request, or 422 naming every field. */
export function valid<
  Target extends "json" | "query",
  Schema extends v.GenericSchema,
>(target: Target, schema: Schema) {
  return validator(target, (value, c): v.InferOutput<Schema> => {
    // Hono passes an empty object where the body is not said to be JSON.
    const type = c.req.header("Content-Type") ?? "";
    if (target === "json" && !/^application\/json\s*(;|$)/i.test(type)) {
      throw new Problem(415, "Expected a body of type application/json.");
    }
    const result = v.safeParse(schema, value, { abortPipeEarly: true });
    if (result.success) return result.output;

    const { issues } = result;
    const errors = issues.slice(0, MOST_ERRORS).map((issue) => ({
      field: shortened(v.getDotPath(issue) ?? ""),
      message: isMissing(issue) ? "is missing" : issue.message,
    }));
    const part = target === "json" ? "body" : "query";
    const more = issues.length > errors.length
      ? ` These are the first ${errors.length} of ${issues.length} errors.`
      : "";
    throw new Problem(422, `The ${part} is not valid.${more}`, { errors });
  });
}

function shortened(field: string): string {
  return field.length > LONGEST_FIELD
    ? `${field.slice(0, LONGEST_FIELD)}…`
    : field;
}

/** A missing key is reported with the message of the object around it. */
function isMissing(issue: v.BaseIssue<unknown>): boolean {
  return issue.kind === "schema" && issue.input === undefined;
}
