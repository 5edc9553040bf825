// connect-flash.
import flash from "connect-flash";
import express from "express";
import { listen, sessions } from "./base.mjs";

const app = express();
app.use(sessions, flash());
app.post("/flash", (req, res) => {
  req.flash(req.query.kind, req.query.message);
  res.json({});
});
app.get("/flash", (req, res) => res.json({ messages: req.flash(req.query.kind) }));
listen(app);
