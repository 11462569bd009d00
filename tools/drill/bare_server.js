// What most servers do about a deploy, for the picture: nothing.
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import process from "node:process";

const app = new Hono();
app.get("/slow", async (c) => {
  const ms = Number(c.req.query("ms"));
  await new Promise((resolve) => setTimeout(resolve, ms));
  return c.text(`That took ${ms} ms.\n`);
});
serve({
  fetch: app.fetch,
  hostname: "127.0.0.1",
  port: Number(process.env["PORT"]),
});
