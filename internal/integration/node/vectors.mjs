// vectors.json: the bytes of the wire. "write" rows are new sessions, and what
// was stored and sent for them; "read" rows are Cookie headers, and the sid
// that express-session found in them.
import { readings } from "./readings.mjs";
import { prefix, send, serve, setNow, start } from "./stack.mjs";

const uuid1 = "123e4567-e89b-42d3-a456-426614174000";
const uuid2 = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d";
const bytes = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const month = 2592000000;

const sids = [
  ["a word", "apple"],
  ["a percent sign", "%"],
  ["a slash", "/foo"],
  ["a UUID", uuid1],
  ["another secret", uuid2, "shhhh, very secret"],
  ["a secret of bytes", uuid2, bytes],
  ["a secret that is not ASCII", uuid2, "clé 漢字 🔑"],
  ["a zero", "0"],
  ["spaces", "two words "],
  ["a plus sign", "a+b"],
  ["a sid that is not ASCII", "é漢🍪"],
  ["decomposed", "e\u0301"],
  ["what encodeURIComponent leaves", "AZaz09-_.!~*'()"],
  ["quotes", `"single' \`back`],
  ["dots", "a.b..c."],
  ["percent escapes", "%20%zz%"],
  ["s: again", "s:apple"],
  ["separators", `;,=\\/:@?&#[]{}<>|^$`],
  ["control characters", "\u0000\t\r\n\u007f"],
  ["C1 and separators", "\u0080\u00a0\u2028\u2029\ufeff"],
];

const cookies = [
  ["maxAge 15 min", { maxAge: 900000 }],
  ["maxAge 1.5 s", { maxAge: 1500 }],
  ["maxAge 1 ms", { maxAge: 1 }],
  ["maxAge 30 days", { maxAge: month }],
  ["maxAge 0", { maxAge: 0 }],
  ["maxAge null", { maxAge: null }],
  ["path", { path: "/app" }],
  ["domain", { domain: "example.com" }],
  ["secure over https", { secure: true }, true],
  ["secure over http", { secure: true }],
  ["secure false", { secure: false }],
  ["secure auto over https", { secure: "auto" }, true],
  ["secure auto over http", { secure: "auto" }],
  ["httpOnly false", { httpOnly: false }],
  ["httpOnly true", { httpOnly: true }],
  ...[true, false, "strict", "lax", "none", "Lax"].map((sameSite) => [`sameSite ${sameSite}`, { sameSite }]),
  ["sameSite auto over https", { sameSite: "auto" }, true],
  ["sameSite auto over http", { sameSite: "auto" }],
  ["secure and sameSite auto over https", { secure: "auto", sameSite: "auto" }, true],
  ["secure and sameSite auto over http", { secure: "auto", sameSite: "auto" }],
  ...["low", "medium", "high", "High"].map((priority) => [`priority ${priority}`, { priority }]),
  ["partitioned true", { partitioned: true }],
  ["partitioned false", { partitioned: false }],
  ["the usual of a site", { maxAge: 900000, secure: true, sameSite: "lax" }, true],
  ["embedded", { maxAge: month, secure: true, sameSite: "none", partitioned: true }, true],
  ["all at once, in another order", {
    sameSite: "strict", path: "/app", domain: "example.com", httpOnly: true, secure: true,
    maxAge: 1500, priority: "high", partitioned: true,
  }, true],
  ["all of them off", {
    secure: false, httpOnly: false, sameSite: false, partitioned: false, maxAge: null,
  }],
];

const lifetimes = [
  ["just before a second ends", { maxAge: 1000 }, "2000-01-01T00:00:00.999Z"],
  ["one millisecond over", { maxAge: 1001 }, "2000-01-01T00:00:00.001Z"],
  ["a leap day", { maxAge: 86400000 }, "2000-02-28T12:34:56.789Z"],
  ["the turn of a year", { maxAge: 900000 }, "2000-12-31T23:59:59.500Z"],
];

// As text: what JSON.parse makes of it is what the handler assigns.
const data = [
  ["HTML", `{"html":"<a href=\\"x\\">&amp;</a>"}`],
  ["line separators", `{"text":"\\u2028 and \\u2029"}`],
  ["control characters", `{"text":"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\\u007f\\u0080"}`],
  ["emoji", `{"text":"🍪 👩‍👩‍👧","🍪":1}`],
  ["a lone surrogate", `{"text":"\\ud83c \\udf6a"}`],
  ["an escape as text", `{"text":"\\\\u2028 \\\\u003c \\\\n"}`],
  ["a slash and quotes", `{"text":"\\/ \\" ' \\\\"}`],
  ["numbers", `{"n":[0,-0,1.0,1E5,1e21,1e-7,0.1,5e-324,9007199254740991,9007199254740993,1e400,123456789012345678901234567890]}`],
  ["nested", `{"user":{"id":7,"tags":["a",{"b":[[]]}],"none":null,"yes":true},"empty":{}}`],
  ["integer-like keys", `{"b":1,"10":2,"a":3,"2":4,"-1":5,"01":6,"4294967294":7,"4294967295":8}`],
  ["odd keys", `{"":1,"a.b":2,"a b":3,"<k>":4,"k\\u2028":5}`],
  ["a cookie of its own, deeper", `{"user":{"cookie":{"expires":"never"}}}`],
];

export async function vectors(keyspace) {
  const base = { sid: uuid1, secret: "keyboard cat", cookie: {} };
  const given = [
    ...sids.map(([name, sid, secret = base.secret]) => ({ ...base, name: `sid: ${name}`, sid, secret })),
    { ...base, name: "secret: the first of two signs", secret: ["new", "old"] },
    { ...base, name: "name: sid", cookieName: "sid" },
    { ...base, name: "name: __Host-sid", cookieName: "__Host-sid", cookie: { secure: true }, https: true },
    { ...base, name: "cookie: none" },
    ...cookies.map(([name, cookie, https]) => ({ ...base, name: `cookie: ${name}`, cookie, https })),
    ...lifetimes.map(([name, cookie, now]) => ({ ...base, name: `lifetime: ${name}`, cookie, now })),
    ...data.map(([name, text]) => ({ ...base, name: `data: ${name}`, data: text })),
  ];
  const write = [];
  for (const row of given) write.push(await written(keyspace, row));
  return { write, ...(await readings(keyspace)) };
}

async function written(keyspace, row) {
  const { name, cookieName = "connect.sid", sid, secret, cookie, https = false, data = `{"views":1}` } = row;
  const now = row.now ?? new Date(start).toISOString();
  const options = {
    name: cookieName, secret, cookie: { ...cookie }, genid: () => sid,
    proxy: true, resave: false, saveUninitialized: false,
  };
  const server = await serve(keyspace, options, (req, res) => {
    Object.assign(req.session, JSON.parse(data));
    res.end("null");
  });
  setNow(Date.parse(now));
  const { setCookie } = await send(server.port, "/app", [`X-Forwarded-Proto: ${https ? "https" : "http"}`]).answer;
  setNow(start);
  await server.close();
  const [[verb, key, stored = null, , ex = null]] = keyspace.take();
  await keyspace.clear();
  if (key !== prefix + sid) throw new Error(`record: ${name}: ${verb} of another key`);
  return {
    name, cookieName, sid, secretHex: Buffer.from([secret].flat(1)[0]).toString("hex"), now, https, cookie, data,
    setCookie: setCookie[0] ?? null, key, stored, ex: ex && Number(ex),
  };
}
