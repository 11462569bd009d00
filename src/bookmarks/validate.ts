import { validator } from "hono/validator";
import * as v from "valibot";
import { Problem } from "../problem.ts";

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

    const errors = result.issues.map((issue) => ({
      field: v.getDotPath(issue) ?? "",
      message: isMissing(issue) ? "is missing" : issue.message,
    }));
    const part = target === "json" ? "body" : "query";
    throw new Problem(422, `The ${part} is not valid.`, { errors });
  });
}

/** A missing key is reported with the message of the object around it. */
function isMissing(issue: v.BaseIssue<unknown>): boolean {
  return issue.kind === "schema" && issue.input === undefined;
}
