// csurf, csrf-sync or lusca, as the test says.
import { csrfSync } from "csrf-sync";
import csurf from "csurf";
import express from "express";
import lusca from "lusca";
import { config, listen, sessions } from "./base.mjs";

const { csrfSynchronisedProtection } = csrfSync({
  getTokenFromRequest: (req) => req.body?._csrf,
});
const protection = {
  csurf: () => csurf(),
  "csrf-sync": () => csrfSynchronisedProtection,
  lusca: () => lusca.csrf(),
};

const app = express();
app.set("env", "test");
app.use(sessions, express.urlencoded(), protection[config.recipe.library]());
app.get("/form", (req, res) => res.json({ token: req.csrfToken() }));
app.post("/form", (req, res) => res.json({ posted: true }));
app.use((err, req, res, next) => res.status(403).json({ error: err.message }));
listen(app);
