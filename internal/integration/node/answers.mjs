// An Express app whose only route does what the query's "do" says, step by
// step, to the session and to the answer. /settled answers when Redis has
// answered all that the app had sent before.
import express from "express";
import session from "express-session";
import { connectStore } from "./store.mjs";

const config = JSON.parse(process.env.SESSIONS_NODE);

process.on("SIGTERM", () => process.exit());
process.stdin.on("close", () => process.exit()).resume();

const store = await connectStore(config);
const verb = (call) => new Promise((resolve, reject) => call((err) => (err ? reject(err) : resolve())));

// A destroyed session is undefined, and there is no more to be done to it.
const steps = {
  count: (req) => {
    if (req.session) req.session.views = (req.session.views || 0) + 1;
  },
  touch: (req) => req.session?.touch(),
  save: (req) => req.session && verb((fn) => req.session.save(fn)),
  destroy: (req) => req.session && verb((fn) => req.session.destroy(fn)),
  cookie: (req, res) => res.setHeader("Set-Cookie", "mine=1"),
  status: (req, res, n) => res.status(n),
  header: (req, res, n) => res.writeHead(n),
  length: (req, res, n) => res.setHeader("Content-Length", n),
  hints: (req, res) => res.writeEarlyHints({ link: "</style.css>; rel=preload" }),
  flush: (req, res) => res.flushHeaders(),
  write: (req, res) => res.write("x"),
  redirect: (req, res, n) => res.redirect(n, "/elsewhere"),
};

const app = express();
app.set("env", "test"); // or else Express prints every error
app.get("/settled", async (req, res) => res.end(await store.client.ping()));
app.use(session({ ...config.session, store }));
app.use(async (req, res) => {
  for (const step of req.query.do.split(" ").filter(Boolean)) {
    const [name, n] = step.split(":");
    await steps[name](req, res, Number(n));
  }
  res.end();
});

const server = app.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
