// decisions.json: what express-session does at the end of a request, for each
// configuration, each way a session begins and each thing a handler may do.
import { done, pairOf, prefix, send, serve, setNow, start } from "./stack.mjs";

const secret = "keyboard cat";
const count = (req) => {
  req.session.views = (req.session.views || 0) + 1;
};
const save = (req) => done((fn) => req.session.save(fn));
const regenerate = (req) => done((fn) => req.session.regenerate(fn));

const actions = {
  untouched() {},
  touched(req) {
    req.session.touch();
  },
  changed: count,
  reverted(req) {
    const was = req.session.views;
    count(req);
    if (was === undefined) delete req.session.views;
    else req.session.views = was;
  },
  async saved(req) {
    count(req);
    await save(req);
  },
  async "saved then changed"(req) {
    count(req);
    await save(req);
    count(req);
  },
  "saved unchanged": save,
  late(req, res) {
    res.write(" ");
    count(req);
  },
  async renewed(req) {
    const { cookie, ...data } = req.session;
    await regenerate(req);
    Object.assign(req.session, data);
    count(req);
  },
  regenerated: regenerate,
  async "regenerated then changed"(req) {
    await regenerate(req);
    count(req);
  },
  destroyed: (req) => done((fn) => req.session.destroy(fn)),
};

export async function decisions(keyspace) {
  const unknown = await sign(keyspace, "unknown");
  const rows = [];
  for (const resave of [false, true]) {
    for (const rolling of [false, true]) {
      for (const saveUninitialized of [false, true]) {
        for (const maxAge of [900000, null]) {
          rows.push(...(await configuration(keyspace, unknown, { resave, rolling, saveUninitialized, maxAge })));
        }
      }
    }
  }
  return { rows };
}

async function configuration(keyspace, unknown, { maxAge, ...given }) {
  let sids = 0;
  const server = await serve(
    keyspace,
    { ...given, secret, cookie: { maxAge }, genid: () => `sid-${++sids}` },
    async (req, res) => {
      await actions[decodeURIComponent(req.path.slice(1))](req, res);
      const { cookie, ...session } = req.session ?? {};
      res.end(JSON.stringify({ id: req.sessionID, session: req.session ? session : null }));
    },
  );
  const ask = (action, headers) => send(server.port, `/${encodeURIComponent(action)}`, headers).answer;

  // Each gives the Cookie header of the recorded request, and what is stored.
  const starts = {
    new: () => ["", null],
    // A minute old, so that a rewritten expires differs from the stored one.
    async loaded() {
      setNow(start - 60_000);
      const first = await ask("changed");
      setNow(start);
      return [pairOf(first.setCookie[0]), await keyspace.client.get(`${prefix}${first.body.id}`)];
    },
    unknown: () => [unknown, null],
  };

  const rows = [];
  for (const [name, begin] of Object.entries(starts)) {
    for (const action of Object.keys(actions)) {
      sids = 0;
      const [cookie, stored] = await begin();
      keyspace.take();
      const { status, setCookie, body } = await ask(action, cookie === "" ? [] : [`Cookie: ${cookie}`]);
      const result = { commands: keyspace.take(), setCookie, status, body };
      rows.push({ ...given, maxAge, start: name, action, cookie, stored, result });
      await keyspace.clear();
    }
  }
  await server.close();
  return rows;
}

// sign gives the cookie of a sid as express-session itself signs it.
async function sign(keyspace, sid) {
  const options = { secret, resave: false, saveUninitialized: true, genid: () => sid };
  const server = await serve(keyspace, options, (req, res) => res.end("null"));
  const { setCookie } = await send(server.port, "/").answer;
  await server.close();
  await keyspace.clear();
  return pairOf(setCookie[0]);
}
