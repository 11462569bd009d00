/** The example: delete it with `npm run eject`, or make it yours. */

export { DATABASE_URL_EXPECTED, isDatabaseUrl } from "./database_url.ts";
export { type Bookmarks, openBookmarks } from "./open.ts";
export { bookmarks } from "./routes.ts";
