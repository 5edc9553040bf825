// passport-oauth2, with state and perhaps PKCE.
import express from "express";
import passport from "passport";
import OAuth2Strategy from "passport-oauth2";
import { config, listen, sessions } from "./base.mjs";

const { provider, callbackURL, pkce } = config.recipe;
passport.use(
  new OAuth2Strategy(
    {
      authorizationURL: `${provider}/authorize`, tokenURL: `${provider}/token`,
      clientID: "shop", clientSecret: "hush", callbackURL, state: true, pkce,
    },
    (accessToken, refreshToken, profile, done) => done(null, { id: accessToken }),
  ),
);
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, { id }));

const app = express();
app.set("env", "test");
app.use(sessions, passport.session());
app.get("/login", passport.authenticate("oauth2"));
app.get("/callback", passport.authenticate("oauth2", { keepSessionInfo: true }), (req, res) => res.redirect("/read"));
app.get("/read", (req, res) => {
  const { cookie, ...session } = req.session;
  res.json({ user: req.user ?? null, session });
});
listen(app);
