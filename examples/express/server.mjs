// The Express half of the pair: an ordinary app, which knows nothing of Go.
//
//	node server.mjs [redis://host:port] [port]
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const [url = "redis://localhost:6379", port = 9093] = process.argv.slice(2);
const client = createClient({ url });
client.on("error", (err) => console.error("redis:", err.message));
await client.connect();

const app = express();
app.set("trust proxy", "loopback"); // the Go half is in front
app.use(express.urlencoded());
app.use(
  session({
    name: "connect.sid",
    secret: process.env.SESSION_SECRET ?? "keyboard cat",
    resave: false,
    saveUninitialized: false,
    rolling: true,
    cookie: { maxAge: 15 * 60 * 1000, sameSite: "lax" }, // and secure: true behind HTTPS
    store: new RedisStore({ client, prefix: "sess:" }),
  }),
);

app.get("/node", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  req.session.since ??= new Date().toISOString(); // unknown to the Go half, which keeps it
  res.send(page(req.session));
});

app.post("/node/signin", (req, res, next) => {
  const { user } = req.body; // a real app asks for a password
  const { cookie, ...data } = req.session;
  req.session.regenerate((err) => {
    if (err) return next(err);
    Object.assign(req.session, data, { user });
    req.session.save((err) => (err ? next(err) : res.redirect(303, "/node")));
  });
});

app.post("/node/signout", (req, res, next) => {
  req.session.destroy((err) => {
    if (err) return next(err);
    res.clearCookie("connect.sid").redirect(303, "/node");
  });
});

const server = app.listen(Number(port), "localhost", (err) => {
  if (err) {
    console.error(`${err.message}: start the Go half with another port, such as -node http://localhost:9097; it prints the command for that`);
    process.exit(1);
  }
  console.log(`Express on http://localhost:${server.address().port}/node`);
});

function page({ views, user, since }) {
  const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  return `<!doctype html><title>Express</title>
<p>Express answered. views: ${escape(views)}, user: ${escape(user ?? "nobody")}, since: ${escape(since)}</p>
<form method="post" action="/node/signin"><input name="user" value="ada"><button>Sign in with Express</button></form>
<form method="post" action="/node/signout"><button>Sign out with Express</button></form>
<p><a href="/">go to Go</a></p>`;
}
