// documents.json: what becomes of a request whose session is stored as some
// document, well formed or broken, for a handler that reads, for one that counts,
// and for one that counts and saves before it answers.
import { createHmac } from "node:crypto";
import { cookieDocuments } from "./cookies.mjs";
import { dataDocuments } from "./data.mjs";
import { done, prefix, send, serve } from "./stack.mjs";

const secret = "keyboard cat";
const key = `${prefix}doc`;
const bystander = `${prefix}other`;

function cookieOf(sid) {
  const mac = createHmac("sha256", secret).update(sid).digest("base64").replace(/=+$/, "");
  return `Cookie: connect.sid=${encodeURIComponent(`s:${sid}.${mac}`)}`;
}

export async function documents(keyspace) {
  const options = {
    secret, resave: false, rolling: true, saveUninitialized: false,
    cookie: { maxAge: 900000 }, genid: () => "new",
  };
  const server = await serve(keyspace, options, async (req, res) => {
    if (req.path !== "/read") req.session.views = (req.session.views || 0) + 1;
    if (req.path === "/save") await done((fn) => req.session.save(fn));
    const { cookie, ...session } = req.session;
    res.json({ id: req.sessionID, session, cookie });
  });
  const rows = [];
  for (const [what, stored] of [...cookieDocuments, ...dataDocuments]) {
    const row = { what, ...described(stored) };
    for (const path of ["read", "count", "save"]) row[path] = await outcome(keyspace, server, stored, path);
    rows.push(abridged(row));
  }
  await server.close();
  return { rows };
}

// described gives the stored bytes, in base64 where text could not hold them,
// or the members of a key that is a list.
function described(stored) {
  if (Array.isArray(stored)) return { storedList: stored };
  if (Buffer.isBuffer(stored)) return { storedBase64: stored.toString("base64") };
  return { stored };
}

// abridged writes {fill} for the long run of one letter in a large document.
function abridged(row) {
  const text = JSON.stringify(row);
  const [run] = text.match(/x{1000,}/) ?? [];
  if (run === undefined) return row;
  return { fill: run.length, ...JSON.parse(text.replaceAll(run, "{fill}")) };
}

async function outcome(keyspace, server, stored, path) {
  const { client } = keyspace;
  const expiration = { type: "EX", value: 60 };
  if (Array.isArray(stored)) await client.rPush(key, stored);
  else await client.set(key, stored, { expiration });
  await client.set(bystander, `{"cookie":{}}`, { expiration });
  keyspace.made.add(key).add(bystander);
  const before = await client.dump(key);

  const request = send(server.port, `/${path}`, [cookieOf("doc")]);
  let answer;
  request.answer.then((given) => {
    answer = given;
  });
  // It hangs if later requests, of as many steps each, are answered before it.
  for (let later = 0; later < 10 && answer === undefined; later++) {
    await send(server.port, "/read", [cookieOf("other")]).answer;
  }
  const { body, ...given } = answer ?? { hangs: true };
  request.abort();
  const late = server.late.splice(0);

  const commands = keyspace.take().filter((command) => command[1] !== bystander);
  const after = await client.dump(key);
  await keyspace.clear();
  const record = after === null ? "gone" : after === before ? "kept" : "rewritten";
  return { ...given, ...body, ...(late.length > 0 && { late }), commands, record };
}
