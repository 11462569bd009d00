import engine from "./engine.json" with { type: "json" };

/** The engine's own, not the app's. */
export const version: string = engine.version;
