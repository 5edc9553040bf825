// app.mjs with fastify and @fastify/session, whose options have other names.
// It has no gates.
import { randomUUID } from "node:crypto";
import fastifyCookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import fastify from "fastify";
import session from "express-session";
import { connectStore } from "./store.mjs";

const config = JSON.parse(process.env.SESSIONS_NODE);
const { name = "connect.sid", secret, rolling, saveUninitialized, genid, cookie } = config.session;

process.on("SIGTERM", () => process.exit());
process.stdin.on("close", () => process.exit()).resume();

const app = fastify({ trustProxy: config.trustProxy ?? false });
app.register(fastifyCookie);
app.register(fastifySession, {
  cookieName: name,
  cookiePrefix: "s:",
  secret,
  rolling,
  saveUninitialized,
  cookie: { secure: false, ...cookie },
  store: await connectStore(config, session),
  ...(genid === "uuid" && { idGenerator: () => randomUUID() }),
});
app.addContentTypeParser("application/json", { parseAs: "string" }, (req, body, done) => {
  done(null, body === "" ? {} : JSON.parse(body));
});
app.setErrorHandler((err, req, reply) => reply.status(500).send({ error: err.message }));

function assign(req) {
  for (const [name, value] of Object.entries(req.body ?? {})) {
    if (value === null) delete req.session[name];
    else req.session[name] = value;
  }
}

function answer(req) {
  const { cookie, ...data } = req.session ?? {};
  return {
    id: req.session?.sessionId,
    session: req.session ? data : null,
    cookie: cookie?.toJSON() ?? null,
    by: "node",
  };
}

// regenerate leaves the old session where it is, so that it has to be ended
// beside it. With ?leave=1 it is not.
async function regenerate(req, members) {
  const { sessionId } = req.session;
  await req.session.regenerate(members);
  if (req.query.leave) return;
  await new Promise((resolve, reject) => req.sessionStore.destroy(sessionId, (err) => (err ? reject(err) : resolve())));
}

const route = (method, url, act) =>
  app.route({ method, url, handler: async (req) => (await act(req)) ?? answer(req) });

route("GET", "/read", () => {});
route("GET", "/count", (req) => {
  req.session.views = (req.session.views || 0) + 1;
});
route("POST", "/set", assign);
route("POST", "/save", async (req) => {
  assign(req);
  await req.session.save();
});
route("POST", "/renew", (req) => regenerate(req, Object.keys(req.session).filter((name) => name !== "cookie")));
route("POST", "/regenerate", (req) => regenerate(req));
route("POST", "/destroy", (req) => req.session.destroy());
route("POST", "/maxage", (req) => {
  req.session.cookie.maxAge = Number(req.query.ms);
});
route("POST", "/touch", (req) => req.session.touch());

await app.listen({ port: 0, host: "127.0.0.1" });
process.stdout.write(`${JSON.stringify({ port: app.server.address().port })}\n`);
