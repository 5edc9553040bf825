// @fastify/session on the wire of express-session.
import fastifyCookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import Fastify from "fastify";
import { config, say, store } from "./base.mjs";

const secret = config.session.secret;
const app = Fastify();
app.register(fastifyCookie);
app.register(fastifySession, {
  cookieName: "connect.sid", cookiePrefix: "s:", secret, store,
  rolling: false, saveUninitialized: false,
  cookie: { path: "/", httpOnly: true, maxAge: 15 * 60 * 1000, sameSite: "lax", secure: false },
});
app.get("/read", (req) => ({ user: req.session.passport?.user ?? null, views: req.session.views ?? 0 }));
app.get("/count", (req) => {
  req.session.views = (req.session.views ?? 0) + 1;
  return { views: req.session.views };
});
app.post("/login", async (req) => {
  const before = req.session.sessionId;
  await req.session.regenerate();
  req.session.passport = { user: "7" };
  await new Promise((done) => store.destroy(before, done)); // regenerate leaves it
  return {};
});
app.post("/regenerate", async (req) => {
  await req.session.regenerate();
  return {};
});
await app.listen({ port: 0, host: "127.0.0.1" });
say(app.server);
