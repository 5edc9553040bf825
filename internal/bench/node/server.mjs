// Express with express-session and connect-redis, as their documentation says, to be measured beside the Go servers.
// It prints its address when it listens, and ends when its standard input does.
//
//	node server.mjs redis://host:port
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

process.stdin.on("close", () => process.exit()).resume();

const client = createClient({ url: process.argv[2] });
client.on("error", (err) => console.error("redis:", err.message));
await client.connect();
const shop = JSON.parse(process.env.SHOP);

const app = express();
app.disable("x-powered-by");
app.set("trust proxy", "loopback");
app.use(
  session({
    secret: "of all servers that share a Redis",
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 60 * 60 * 1000, secure: true },
    store: new RedisStore({ client }),
  }),
);

const done = (res, req) => res.status(req.session.shop?.user_id === "user-4711" ? 204 : 500).end();
app.get("/read", (req, res) => done(res, req));
app.get("/changed", (req, res) => {
  req.session.shop.views++;
  done(res, req);
});
app.get("/new", (req, res) => {
  req.session.shop = shop;
  done(res, req);
});
app.get("/none", (req, res) => res.status(204).end());

const server = app.listen(0, "127.0.0.1", (err) => {
  if (err) throw err;
  console.log(`127.0.0.1:${server.address().port}`);
});
