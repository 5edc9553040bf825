// What every recipe stands on: express-session as SESSIONS_NODE configures it
// (see ../README.md), and a server that prints its port as app.mjs does.
import { createServer } from "node:http";
import session from "express-session";
import { connectStore } from "../store.mjs";

export const config = JSON.parse(process.env.SESSIONS_NODE);

process.on("SIGTERM", () => process.exit());
process.stdin.on("close", () => process.exit()).resume();

// Redis knows the app by its name, so that a test can tell whose a command is.
const client = { url: config.redis, name: "node" };
export const store = await connectStore({ ...config, storeOptions: { ...config.storeOptions, client } });
export const sessions = session({ ...config.session, store });

export function listen(handler) {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1", () => say(server));
  return server;
}

export function say(server) {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
}
