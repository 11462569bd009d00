import * as v from "valibot";
import { secret, text, time } from "../kit/variables.ts";
import { DATABASE_URL_EXPECTED, isDatabaseUrl } from "./database_url.ts";

/** What bookmarks can be told; `src/config.ts` has them in its schema. */
export const variables = {
  DATABASE_URL: secret(v.optional(text(DATABASE_URL_EXPECTED, isDatabaseUrl))),
  DATABASE_CONNECT_TIMEOUT_MS: v.optional(time, "30000"),
};

const schema = v.object(variables);
export type Settings = v.InferOutput<typeof schema>;
