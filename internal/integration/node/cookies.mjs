// Documents whose cookie member is not what express-session writes today.
const standard = {
  originalMaxAge: "900000",
  expires: `"2000-01-01T00:10:00.000Z"`,
  httpOnly: "true",
  path: `"/"`,
};

// doc is a stored document whose cookie has other members, given as JSON text;
// undefined leaves one out.
const doc = (changes) => {
  const members = Object.entries({ ...standard, ...changes }).filter(([, text]) => text !== undefined);
  return `{"cookie":{${members.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}},"views":1}`;
};

const each = (name, texts, others = {}) =>
  texts.map((text) => [
    [`${name} ${text ?? "missing"}`, ...Object.entries(others).map(([other, value]) => `${other} ${value}`)].join(", "),
    doc({ [name]: text, ...others }),
  ]);

const past = `"1999-12-31T23:50:00.000Z"`;

export const cookieDocuments = [
  ["as Node writes it", doc({})],
  ["of a session without maxAge", doc({ originalMaxAge: "null", expires: "null" })],

  ["no cookie", `{"views":1}`],
  ...["null", "false", "0", `""`, "true", "1", `"x"`, "[]", `["x"]`, "{}"].map((text) => [
    `cookie ${text}`,
    `{"cookie":${text},"views":1}`,
  ]),
  ["cookie in another case", `{"Cookie":{"originalMaxAge":900000,"expires":null},"views":1}`],
  ["cookie, and one in another case", doc({}).replace(`"views"`, `"Cookie":"x","views"`)],

  ...each("originalMaxAge", [
    undefined, "null", "false", "true", `"900000"`, `""`, "{}", "[]",
    "0", "-0", "-1", "0.5", "1", "1500.5", "899999", "9e5", "2592000000", "31536000000000",
    "8640000000000000", "1e300", "1e400", "-1e400",
  ]),
  ...each("originalMaxAge", [undefined, "null", "900000"], { expires: "null" }),
  ...each("originalMaxAge", [undefined, "null", "false", `"900000"`], { expires: past }),
  ["originalMaxAge twice", doc({}).replace(`"expires"`, `"originalMaxAge":60000,"expires"`)],
  ["originalMaxAge in another case", doc({ originalMaxAge: undefined, originalmaxage: "60000" })],

  ...each("expires", [
    undefined, "null", "false", "true", "0", "946685400000", "[]", "{}",
    past, `"soon"`, `""`, `"0001-01-01T00:00:00Z"`,
    `"2000-01-01T02:10:00.000+02:00"`, `"1999-12-31T19:10:00-05:00"`, `"2000-01-01T00:10:00Z"`,
    `"2000-01-01T00:10:00.123456789Z"`, `"2000-01-01T00:10:00.1Z"`, `"2000-01-01T00:10:00.000"`,
    `"2000-01-01T00:10Z"`, `"2000-01-01 00:10:00Z"`, `"2000-01-01t00:10:00z"`, `"2000-01-02"`,
    `"Sat, 01 Jan 2000 00:10:00 GMT"`, `"2000-01-01T24:00:00.000Z"`, `"2000-02-30T00:00:00.000Z"`,
    `"2000-13-01T00:00:00.000Z"`, `"9999-12-31T23:59:59.999Z"`, `"+010000-01-01T00:00:00.000Z"`,
    `"2000-01-01T00:00:00.000Z"`, `"2000-01-01T00:00:00.001Z"`, `"946685400000"`, `" 2000-01-01T00:10:00.000Z "`,
  ]),

  ...each("secure", ["true", "false", "null", `"auto"`, "1", "0", `""`, `"x"`]),
  ...each("httpOnly", [undefined, "null", "false", "0", "1", `"x"`]),
  ...each("path", [
    undefined, "null", "false", `""`, `"/app"`, `"app"`, `"/;x"`, `"/a; Domain=x"`, `"/a\\r\\nb"`, `"/\\u00e9"`, `"/a b"`, "1",
  ]),
  ...each("domain", [
    "null", "false", `""`, `"example.com"`, `".example.com"`, `"localhost"`, `"127.0.0.1"`,
    `"a;b"`, `"ex ample"`, `"b\\u00fccher.example"`, `"-a.example"`, `"a_b.example"`, `"example.com."`, "1",
  ]),
  ...each("sameSite", [
    "true", "false", "null", `"strict"`, `"lax"`, `"none"`, `"LAX"`, `"auto"`, `"weird"`, `""`, "1", "0", "{}",
  ]),
  ...each("priority", [`"low"`, `"medium"`, `"HIGH"`, `"weird"`, `""`, "null", "false", "1"]),
  ...each("partitioned", ["true", "false", "null", "1", `"x"`]),
  ["all attributes", doc({
    partitioned: "true", priority: `"high"`, secure: "false", domain: `"example.com"`, path: `"/app"`, sameSite: `"strict"`,
  })],

  ["an unknown member", doc({ theme: `{"a":[1]}` })],
  ["a member data", doc({ data: `{"path":"/x"}` })],
  ["a member maxAge", doc({ maxAge: "60000" })],
  ["a member maxAge that is text", doc({ maxAge: `"60000"` })],
  ["a member _expires", doc({ _expires: `"2000-01-01T00:20:00.000Z"` })],
  ["a member signed", doc({ signed: "true" })],
  ["a member toJSON", doc({ toJSON: "1" })],
  ["a member serialize", doc({ serialize: "1" })],
  ["a member encode", doc({ encode: "1" })],
  ["a member __proto__", doc({ ["__proto__"]: `{"secure":true}` })],
  ["members in another order", `{"cookie":{"path":"/","httpOnly":true,"expires":${standard.expires},"originalMaxAge":900000},"views":1}`],
];
