// Express in front of Go: the proxy stands above the session middleware, or, to
// see what happens, below it.
import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";
import { config, listen, sessions } from "./base.mjs";

const { target, below, changes, proxyTimeout } = config.recipe;

const app = express();
if (below) app.use(sessions, express.urlencoded());
if (changes) {
  app.use((req, res, next) => {
    req.session.seen = (req.session.seen ?? 0) + 1;
    next();
  });
}
const proxy = createProxyMiddleware({ target, pathFilter: "/go", xfwd: true, proxyTimeout });
app.use(proxy); // above app.use(session(…)) and every body parser
if (!below) app.use(sessions, express.urlencoded());
app.get("/read", (req, res) => {
  const { cookie, ...session } = req.session;
  res.json({ by: "node", session });
});
app.get("/count", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ by: "node", views: req.session.views });
});

const server = listen(app);
server.on("upgrade", proxy.upgrade); // WebSockets of Go
