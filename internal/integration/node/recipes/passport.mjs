// passport and passport-local.
import express from "express";
import passport from "passport";
import { Strategy } from "passport-local";
import { config, listen, sessions } from "./base.mjs";

const { id, keepSessionInfo } = config.recipe; // the kind of the one user's id, 7 or "7"
const users = new Map([[id, { id, name: "Ada" }]]);

passport.use(
  new Strategy((name, password, done) => {
    const user = [...users.values()].find((u) => u.name === name);
    if (!user || password !== "secret") return done(null, false, { message: "Wrong password." });
    done(null, user);
  }),
);
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, users.get(id) ?? false));

const app = express();
app.set("env", "test");
app.use(sessions, passport.session(), express.urlencoded());
app.post(
  "/login",
  passport.authenticate("local", {
    keepSessionInfo, successReturnToOrRedirect: "/", failureRedirect: "/login", failureMessage: true,
  }),
);
app.post("/logout", (req, res, next) => {
  req.logout({ keepSessionInfo }, (err) => (err ? next(err) : res.redirect("/")));
});
app.get("/private", (req, res) => {
  if (req.user) return res.json({ user: req.user });
  req.session.returnTo = req.originalUrl;
  res.redirect("/login");
});
app.get("/read", (req, res) => {
  const { cookie, ...session } = req.session;
  res.json({ user: req.user ?? null, session });
});
listen(app);
