// Documents with a sound cookie and unusual data, and what is no document.
const cookie = `"cookie":{"originalMaxAge":900000,"expires":"2000-01-01T00:10:00.000Z","httpOnly":true,"path":"/"}`;
const doc = (data) => `{${cookie}${data === "" ? "" : ","}${data}}`;
const sound = doc(`"views":1`);

// What Session and Object.prototype have, and some names that neither has.
const reserved = [
  "id", "req", "save", "reload", "regenerate", "destroy", "touch", "resetMaxAge",
  "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
  "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
];
const free = ["ID", "Id", "session", "sessionID", "sessionStore", "toJSON", "prototype", "length", "name", "lastModified"];

const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));

export const dataDocuments = [
  ["no data", doc("")],
  ["cookie not first", `{"views":1,${cookie}}`],
  ["cookie between", `{"a":1,${cookie},"views":1}`],
  ["white space", ` \r\n\t{ ${cookie} ,\n "views" : 1 }\n`],
  ["the name cookie escaped", sound.replace("cookie", "\\u0063ookie")],
  ["members unknown to anybody", doc(`"views":1,"user":{"id":7,"tags":["a",null,{}]},"none":null,"yes":true,"text":"t"`)],
  ["views null", doc(`"views":null`)],
  ["views below zero", doc(`"views":-1`)],
  ["views with a fraction", doc(`"views":1.0`)],
  ["views in another case", doc(`"Views":1`)],

  ["numbers", doc(`"n":[9007199254740993,-9007199254740993,1e400,-0,1.0,1E5,1e-400,0.1,100000000000000000000,1e21]`)],
  ["a number beyond 2^53", doc(`"n":9007199254740993`)],
  ["a number beyond a double", doc(`"n":1e400`)],
  ["a number as Node would not write it", doc(`"n":1.0`)],
  ["text as Node would not write it", doc(`"t":"\\u003ca\\/b\\u003e \\u2028 \\u00e9"`)],
  ["text as Node writes it", doc(`"t":"<a/b> & \u2028\u2029 \u00e9 \u{1f36a} \u007f"`)],
  ["lone surrogates", doc(`"t":"\\ud83c \\udf6a","\\ud800":1`)],
  ["a surrogate pair escaped", doc(`"t":"\\ud83c\\udf6a"`)],
  ["a NUL escaped", doc(`"t":"\\u0000","\\u0000":1`)],
  ["integer-like names out of order", `{"b":1,"10":2,${cookie},"2":3,"a":4}`],
  ["an empty name", doc(`"":1`)],
  ["a member twice", doc(`"views":1,"a":2,"views":3`)],
  ["cookie twice", `{"cookie":{"originalMaxAge":60000,"expires":null},"views":1,${cookie}}`],
  ["cookie twice, the last null", doc(`"views":1,"cookie":null`)],
  ["200 deep", doc(`"deep":${"[".repeat(200)}${"]".repeat(200)}`)],
  ["100 KB", doc(`"views":1,"large":"${"x".repeat(100 * 1024)}"`)],

  ...reserved.map((name) => [`reserved: ${name}`, doc(`"views":1,${JSON.stringify(name)}:"x"`)]),
  ["reserved: all at once", doc(`"views":1,${reserved.map((name) => `${JSON.stringify(name)}:{}`).join(",")}`)],
  ["reserved: __proto__ with members", doc(`"views":1,"__proto__":{"a":1}`)],
  ...free.map((name) => [`not reserved: ${name}`, doc(`"views":1,${JSON.stringify(name)}:"x"`)]),

  ["empty", ""],
  ["white space alone", " "],
  ["TOMBSTONE", "TOMBSTONE"],
  ...["null", "false", "true", "0", "-0", "123", `""`, `"str"`, "[]", `[{${cookie}}]`, "{}"].map((text) => [
    `the value ${text === `[{${cookie}}]` ? "[{cookie}]" : text}`, text,
  ]),
  ["cut short", sound.slice(0, -1)],
  ["trailing bytes", `${sound}x`],
  ["two documents", sound + sound],
  ["trailing NUL", `${sound}\u0000`],
  ["a trailing comma", doc(`"views":1,`)],
  ["a comment", doc(`"views":1/* */`)],
  ["single quotes", sound.replaceAll(`"`, "'")],
  ["NaN", doc(`"views":NaN`)],
  ["a leading zero", doc(`"views":01`)],
  ["a line end in text", doc(`"t":"\n"`)],
  ["a PHP session", `views|i:1;`],
  ["a byte order mark", bytes([0xef, 0xbb, 0xbf], sound)],
  ["UTF-16", Buffer.from(sound, "utf16le")],
  ["compressed", Buffer.from("1f8b08000000000000ff", "hex")],
  ["bytes that are no UTF-8, in text", bytes(doc(`"t":"`).slice(0, -1), [0xff, 0xc0, 0xaf, 0xed, 0xa0, 0x80], `","views":1}`)],
  ["bytes that are no UTF-8, in a name", bytes(`{${cookie},"`, [0xe9], `":1}`)],
  ["a list in its place", [sound]],
];
