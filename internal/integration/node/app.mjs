// A real Express app with express-session and connect-redis, configured by the
// JSON object in SESSIONS_NODE (see README.md). It prints {"port":N} when it
// listens, and ends on SIGTERM or when its standard input does.
import { randomBytes, randomUUID } from "node:crypto";
import { connectStore } from "./store.mjs";

const config = JSON.parse(process.env.SESSIONS_NODE);
const { default: express } = await import(config.framework);
const { default: session } = await import(config.sessions);
const { genid, ...options } = config.session;

process.on("SIGTERM", () => process.exit());
process.stdin.on("close", () => process.exit()).resume();

const store = await connectStore(config, session);
const sessions = session({
  ...options,
  store,
  ...(genid === "uuid" && { genid: () => randomUUID() }),
  ...(genid > 0 && { genid: () => randomBytes(genid).toString("hex").slice(0, genid) }),
});

const verb = (call) => new Promise((resolve, reject) => call((err) => (err ? reject(err) : resolve())));
const regenerate = (req) => verb((fn) => req.session.regenerate(fn));

function assign(req) {
  for (const [name, value] of Object.entries(req.body ?? {})) {
    if (value === null) delete req.session[name];
    else req.session[name] = value;
  }
}

function answer(req, res) {
  const { cookie, ...data } = req.session ?? {};
  res.json({
    id: req.sessionID,
    session: req.session ? data : null,
    cookie: cookie?.toJSON() ?? null,
    maxAge: typeof cookie?.maxAge === "number" ? cookie.maxAge : null,
    by: "node",
  });
}

// A gate parks one request by name until it is released.
const gates = new Map();

function gate(name) {
  if (!gates.has(name)) gates.set(name, { held: event(), released: event() });
  return gates.get(name);
}

function event() {
  const made = {};
  made.reached = new Promise((resolve) => {
    made.reach = resolve;
  });
  return made;
}

const gatekeeper = express.Router();
gatekeeper.get("/held", async (req, res) => {
  await gate(req.query.name).held.reached;
  res.json({ held: req.query.name });
});
gatekeeper.post("/release", (req, res) => {
  gate(req.query.name).released.reach();
  res.json({ released: req.query.name });
});

const routes = express.Router();
routes.get("/read", answer);
routes.get("/count", (req, res) => {
  req.session.views = (req.session.views || 0) + 1;
  answer(req, res);
});
routes.post("/set", (req, res) => {
  assign(req);
  answer(req, res);
});
routes.post("/save", (req, res, next) => {
  assign(req);
  // Express 4 does not see the rejection of an async handler.
  verb((fn) => req.session.save(fn)).then(() => answer(req, res), next);
});
routes.post("/renew", async (req, res) => {
  const { cookie, ...data } = req.session;
  await regenerate(req);
  Object.assign(req.session, data);
  answer(req, res);
});
routes.post("/regenerate", async (req, res) => {
  await regenerate(req);
  answer(req, res);
});
routes.post("/destroy", async (req, res) => {
  await verb((fn) => req.session.destroy(fn));
  answer(req, res);
});
routes.post("/maxage", (req, res) => {
  req.session.cookie.maxAge = req.query.ms === undefined ? null : Number(req.query.ms);
  answer(req, res);
});
// What there is to do with a lifetime, as the test has written it.
const AsyncFunction = (async () => {}).constructor;
routes.post("/run", async (req, res) => {
  await new AsyncFunction("req", "regenerate", "save", "day", req.body.code)(
    req, () => regenerate(req), () => verb((fn) => req.session.save(fn)), 24 * 60 * 60 * 1000,
  );
  answer(req, res);
});
routes.post("/touch", (req, res) => {
  req.session.touch();
  answer(req, res);
});
routes.get("/ids", (req, res, next) => {
  store.ids((err, ids) => (err ? next(err) : res.json({ ids, by: "node" })));
});
routes.post("/hold", async (req, res) => {
  assign(req);
  const { held, released } = gate(req.query.name);
  held.reach();
  await released.reached;
  gates.delete(req.query.name);
  answer(req, res);
});

const app = express();
app.set("env", "test"); // or else Express prints every error
app.set("trust proxy", config.trustProxy ?? false);
app.use(gatekeeper);
app.use(sessions);
app.use(express.json());
app.use(options.cookie?.path ?? "/", routes);
app.use((err, req, res, next) => {
  if (res.headersSent) next(err);
  else res.status(500).json({ error: err.message });
});

const server = app.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
