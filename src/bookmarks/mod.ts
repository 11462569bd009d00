/** The example: delete it with `npm run eject`, or make it yours. */

export { type Bookmarks, openBookmarks } from "./open.ts";
export { bookmarks } from "./routes.ts";
