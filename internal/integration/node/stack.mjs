// What every recording stands on: a clock that stands still, a Redis client
// that writes down what connect-redis asks of it, a real Express server in
// front of both, and a client that sends raw bytes.
import { once } from "node:events";
import { createRequire } from "node:module";
import net from "node:net";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

// Go's testing/synctest begins at this instant.
export const start = Date.parse("2000-01-01T00:00:00.000Z");
export const prefix = "sess:";

let now = start;

// express-session and connect-redis read the global at each use.
const RealDate = Date;
process.env.TZ = "UTC"; // a date without a zone is of the local one
globalThis.Date = class Date extends RealDate {
  constructor(...args) {
    super(...(args.length > 0 ? args : [now]));
  }

  static now() {
    return now;
  }
};

export function setNow(ms) {
  now = ms;
}

// versions are those of the lock file: the packages that decide what is
// recorded, and not Node's, which must not.
export function versions() {
  const require = createRequire(import.meta.url);
  const lock = require("./package-lock.json").packages;
  const names = ["connect-redis", "express", "express-session", "redis"];
  return Object.fromEntries(names.map((name) => [name, lock[`node_modules/${name}`].version]));
}

// Keyspace is the Redis of one recording. It starts from an empty prefix and
// deletes what was made, by name: the server may not be ours alone.
export class Keyspace {
  static async open(url) {
    const client = await createClient({ url }).connect();
    for await (const keys of client.scanIterator({ MATCH: `${prefix}*`, COUNT: 1000 })) {
      if (keys.length > 0) throw new Error(`record: ${prefix}* is not empty on this Redis`);
    }
    return new Keyspace(client);
  }

  constructor(client) {
    this.client = client;
    this.made = new Set();
    this.log = [];
  }

  // recorder is the client that connect-redis is given. It has nothing but
  // what a request can need, so that no command goes by unrecorded.
  recorder() {
    const record = (...args) => this.log.push(args.map(String));
    return {
      get: (key) => {
        record("GET", key);
        return this.client.get(key);
      },
      set: (key, value, options) => {
        const { type, value: seconds } = options.expiration;
        record("SET", key, value, type, seconds);
        this.made.add(key);
        return this.client.set(key, value, options);
      },
      expire: (key, seconds) => {
        record("EXPIRE", key, seconds);
        return this.client.expire(key, seconds);
      },
      del: (keys) => {
        record("DEL", ...keys);
        return this.client.del(keys);
      },
    };
  }

  // take empties the log of what concerns one key, or all.
  take(key) {
    const taken = this.log.filter((command) => key === undefined || command[1] === key);
    this.log.length = 0;
    return taken;
  }

  async clear() {
    if (this.made.size > 0) await this.client.del([...this.made]);
    this.made.clear();
    this.log.length = 0;
  }

  close() {
    return this.client.close();
  }
}

// serve runs one application whose only route is handle. Of errors that come
// when the header is out Express destroys the socket, and how much of the body
// has left by then is a matter of luck: they are noted in late instead, and the
// answer goes on.
export async function serve(keyspace, options, handle) {
  const app = express();
  const late = [];
  const sessions = session({ ...options, store: new RedisStore({ client: keyspace.recorder(), prefix }) });
  app.use((req, res, next) => {
    sessions(req, res, (err) => {
      if (err && res.headersSent) late.push(err.constructor.name);
      else next(err);
    });
  });
  app.use(handle);
  app.use((err, req, res, next) => {
    res.status(500).json({ error: err.constructor.name });
  });
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: server.address().port,
    late,
    close() {
      server.closeAllConnections();
      server.close();
      return once(server, "close");
    },
  };
}

// done turns the callback verbs of express-session into promises.
export function done(verb) {
  return new Promise((resolve, reject) => verb((err) => (err ? reject(err) : resolve())));
}

// send writes one request, header lines as they are, and gives the answer:
// its status, its Set-Cookie lines and its body. Only the caller's own abort
// ends a request that nobody answers.
export function send(port, path, headers = []) {
  const socket = net.connect(port, "127.0.0.1");
  const chunks = [];
  socket.write([`GET ${path} HTTP/1.1`, "Host: localhost", "Connection: close", ...headers, "", ""].join("\r\n"));
  const answer = new Promise((resolve, reject) => {
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(chunks.length > 0 ? parse(Buffer.concat(chunks).toString()) : undefined));
  });
  return { answer, abort: () => socket.destroy() };
}

function parse(text) {
  const end = text.indexOf("\r\n\r\n");
  const [first, ...lines] = text.slice(0, end).split("\r\n");
  const values = (name) =>
    lines.filter((line) => line.toLowerCase().startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
  const raw = text.slice(end + 4);
  const answer = { status: Number(first.split(" ")[1]), setCookie: values("set-cookie") };
  const body = values("transfer-encoding").includes("chunked") ? unchunk(Buffer.from(raw)) : raw;
  return { ...answer, body: JSON.parse(body) };
}

function unchunk(raw) {
  const parts = [];
  for (let at = 0; ; ) {
    const eol = raw.indexOf("\r\n", at);
    const size = Number.parseInt(raw.subarray(at, eol).toString(), 16);
    if (!(size > 0)) return Buffer.concat(parts).toString();
    parts.push(raw.subarray(eol + 2, eol + 2 + size));
    at = eol + 2 + size + 2;
  }
}

// pairOf is the name=value of a Set-Cookie line, as a browser sends it back.
export function pairOf(setCookie) {
  return setCookie.slice(0, setCookie.indexOf(";"));
}

// lines writes a JSON document with one row a line, in ASCII, so that a diff
// shows which row moved and no editor changes what it holds.
export function lines(members) {
  const parts = Object.entries(members).map(([name, value]) => {
    if (!Array.isArray(value)) return `${JSON.stringify(name)}: ${JSON.stringify(value)}`;
    return `${JSON.stringify(name)}: [\n${value.map((row) => JSON.stringify(row)).join(",\n")}\n]`;
  });
  const escape = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `{\n${parts.join(",\n")}\n}\n`.replace(/[\u007f-\uffff]/g, escape);
}
