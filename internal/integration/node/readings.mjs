// The "read" rows of vectors.json: raw Cookie headers, sent byte for byte, and
// the sid that express-session went to the store with.
import { createHmac } from "node:crypto";
import { prefix, send, serve } from "./stack.mjs";

const secrets = ["keyboard cat", "old"];
const sids = new Set();

// raw is a signed value as it is before it is percent-encoded.
function raw(sid, secret = secrets[0]) {
  sids.add(sid);
  return `s:${sid}.${createHmac("sha256", secret).update(sid).digest("base64").replace(/=+$/, "")}`;
}
const signed = (sid, secret) => encodeURIComponent(raw(sid, secret));

const apple = signed("apple");
const pear = signed("pear");
const lower = apple.replace(/%../g, (hex) => hex.toLowerCase());
const every = Array.from(raw("apple"), (c) => `%${c.charCodeAt(0).toString(16)}`).join("");

const rows = [
  ["as it was set", `connect.sid=${apple}`],
  ["the second secret", `connect.sid=${signed("apple", "old")}`],
  ["a secret of nobody", `connect.sid=${signed("apple", "other")}`],
  ["wrong signature", `connect.sid=${apple.replace("D8Y", "E8Y")}`],
  ["signature with other unused bits", `connect.sid=${apple.slice(0, -1)}V`],
  ["signature cut short", `connect.sid=${apple.slice(0, -1)}`],
  ["signature in other case", `connect.sid=${apple.toLowerCase()}`],
  ["signature with padding", `connect.sid=${apple}%3D`],
  ["signature in the URL alphabet", `connect.sid=${raw("apple").replaceAll("+", "-").replaceAll("/", "_")}`],
  ["signature of another sid", `connect.sid=${apple.replace("apple", "pear")}`],
  ["no signature", "connect.sid=s%3Aapple"],
  ["an empty signature", "connect.sid=s%3Aapple."],
  ["unsigned", "connect.sid=apple"],
  ["signed without s:", `connect.sid=${apple.slice(4)}`],
  ["an upper-case S:", `connect.sid=S${apple.slice(1)}`],
  ["s: twice", `connect.sid=s%3A${apple}`],
  ["s: alone", "connect.sid=s%3A"],
  ["s: and a dot", "connect.sid=s%3A."],
  ["an empty sid, well signed", `connect.sid=${signed("")}`],
  ["no value", "connect.sid="],
  ["an empty header", ""],

  ["a sid with dots", `connect.sid=${signed("a.b..c.")}`],
  ["a sid with spaces", `connect.sid=${signed("two words ")}`],
  ["a sid with a plus sign", `connect.sid=${signed("a+b")}`],
  ["a sid that is not ASCII", `connect.sid=${signed("é漢🍪")}`],
  ["a sid of percent escapes", `connect.sid=${signed("%20%zz%")}`],
  ["a sid that begins with s:", `connect.sid=${signed("s:apple")}`],
  ["a sid with a line end", `connect.sid=${signed("a\r\nb")}`],

  ["not encoded", `connect.sid=${raw("apple")}`],
  ["not encoded, a plus sign in the sid", `connect.sid=${raw("a+b")}`],
  ["not encoded, a space in the sid", `connect.sid=${raw("a b")}`],
  ["not encoded, a comma in the sid", `connect.sid=${raw("a,b")}`],
  ["not encoded, a quote in the sid", `connect.sid=${raw('a"b')}`],
  ["not encoded, an equals sign in the sid", `connect.sid=${raw("a=b")}`],
  ["not encoded, a semicolon in the sid", `connect.sid=${raw("a;b")}`],
  ["not encoded, not ASCII", `connect.sid=${raw("é")}`],
  ["a plus sign for a space", `connect.sid=${signed("a b").replace("%20", "+")}`],
  ["lower-case hex", `connect.sid=${lower}`],
  ["every byte escaped", `connect.sid=${every}`],
  ["malformed escape", `connect.sid=${signed("%zz").replace("%25", "%")}`],
  ["malformed escape, not encoded", `connect.sid=${raw("%zz")}`],
  ["an escape at the end", `connect.sid=${apple}%`],
  ["an escape that is not UTF-8", `connect.sid=${raw("%ff")}`],
  ["an overlong escape", `connect.sid=${raw("%c0%af")}`],
  ["an escaped surrogate", `connect.sid=${raw("%ed%a0%80")}`],
  ["encoded twice", `connect.sid=${encodeURIComponent(apple)}`],
  ["not encoded, a valid escape in the sid", `connect.sid=${raw("%41")}`],

  ["quoted", `connect.sid="${apple}"`],
  ["quoted twice", `connect.sid=""${apple}""`],
  ["a quote before", `connect.sid="${apple}`],
  ["a quote after", `connect.sid=${apple}"`],
  ["single quotes", `connect.sid='${apple}'`],
  ["spaces inside quotes", `connect.sid=" ${apple} "`],
  ["a semicolon inside quotes", `connect.sid="${apple};x"`],
  ["escaped quotes", `connect.sid=%22${apple}%22`],
  ["two quotes alone", `connect.sid=""`],
  ["one quote alone", `connect.sid="`],

  ["spaces around", `  connect.sid  =  ${apple}  `],
  ["tabs around", `\tconnect.sid\t=\t${apple}\t;\tx=1`],
  ["a space inside", `connect.sid=${apple.slice(0, 9)} ${apple.slice(9)}`],
  ["escaped spaces around", `connect.sid=%20${apple}%20`],
  ["no space after the semicolon", `a=1;connect.sid=${apple};b=2`],
  ["empty parts", `; ;;connect.sid=${apple};; ;`],
  ["a part without =", `flag; connect.sid=${apple}; flag`],
  ["its name without =", `connect.sid; connect.sid=${apple}`],
  ["a part without a name", `=1; connect.sid=${apple}`],
  ["two equals signs", `connect.sid==${apple}`],
  ["an equals sign after", `connect.sid=${apple}=`],
  ["a comma between", `a=1, connect.sid=${apple}`],
  ["a comma after", `connect.sid=${apple}, a=1`],
  ["attributes of RFC 2965", `$Version=1; connect.sid=${apple}; $Path=/`],

  ["name in another case", `Connect.Sid=${apple}`],
  ["name escaped", `connect%2Esid=${apple}`],
  ["name in quotes", `"connect.sid"=${apple}`],
  ["a longer name", `xconnect.sid=${apple}; connect.sid2=${apple}`],
  ["behind odd names", `a[b]=1; a b=2; a@b=3; é=4; connect.sid=${apple}`],
  ["behind odd values", `a=é; b="x y"; c=%zz; d=\\; e={"x":[1,2]}; connect.sid=${apple}`],
  ["behind __proto__", `__proto__=1; constructor=2; connect.sid=${apple}`],

  ["two, both valid", `connect.sid=${apple}; connect.sid=${pear}`],
  ["two, the first with a wrong signature", `connect.sid=${apple}x; connect.sid=${pear}`],
  ["two, the first unsigned", `connect.sid=apple; connect.sid=${pear}`],
  ["two, the first empty", `connect.sid=; connect.sid=${pear}`],
  ["two, the second with a wrong signature", `connect.sid=${apple}; connect.sid=${pear}x`],
  ["two header lines", `a=1`, `connect.sid=${apple}`],
  ["two header lines, both valid", `connect.sid=${apple}`, `connect.sid=${pear}`],
];

export async function readings(keyspace) {
  const options = { secret: secrets, resave: false, saveUninitialized: false, genid: () => "new" };
  const server = await serve(keyspace, options, (req, res) => res.json(req.session.whose ?? null));
  const cookie = { originalMaxAge: null, expires: null, httpOnly: true, path: "/" };
  const store = keyspace.recorder();
  const read = [];
  for (const [name, ...cookieHeaders] of rows) {
    for (const sid of sids) {
      const expiration = { type: "EX", value: 60 };
      await store.set(prefix + sid, JSON.stringify({ cookie, whose: sid }), { expiration });
    }
    keyspace.take();
    const { body } = await send(server.port, "/", cookieHeaders.map((header) => `Cookie: ${header}`)).answer;
    const [get] = keyspace.take();
    const sid = get === undefined ? null : get[1].slice(prefix.length);
    if (sid !== body) throw new Error(`record: ${name}: looked for ${sid}, answered ${body}`);
    read.push({ name, cookieHeaders, sid });
  }
  await keyspace.clear();
  await server.close();
  return { readWith: { cookieName: "connect.sid", secrets }, read };
}
