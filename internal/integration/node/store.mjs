// connect-redis on a client, each by its name in package.json. A connect-redis
// before 7 takes its Store from the session given. storeOptions may have more
// options of the client.
import { once } from "node:events";

// A store as people write one, without touch: a session ends a week after it was last saved.
const ownStore = (session) =>
  class extends session.Store {
    constructor(client) {
      super();
      this.client = client;
    }
    get(sid, fn) {
      this.client.get(`sess:${sid}`).then((data) => fn(null, data && JSON.parse(data)), fn);
    }
    set(sid, sess, fn) {
      this.client.set(`sess:${sid}`, JSON.stringify(sess), { EX: 7 * 24 * 3600 }).then(() => fn(), fn);
    }
    destroy(sid, fn) {
      this.client.del(`sess:${sid}`).then(() => fn(), fn);
    }
  };

export async function connectStore({ connectRedis, client, redis, storeOptions }, session) {
  if (connectRedis === "own") return new (ownStore(session))(await connect(client, { url: redis }));
  const major = Number(connectRedis.split("-")[2] ?? 10);
  const { default: exported, RedisStore = major < 7 ? exported(session) : exported } = await import(connectRedis);
  const { client: more, ...options } = storeOptions;
  // connect-redis 6 calls its client back, as redis did before 4.
  const legacy = client === "redis-4" && major < 7 && { legacyMode: true };
  return new RedisStore({ client: await connect(client, { url: redis, ...more, ...legacy }), ...options });
}

// An error before the first connection ends the process; later the client
// reconnects by itself.
async function connect(name, options) {
  const { createClient, Redis } = await import(name);
  const client = Redis ? new Redis(options.url) : createClient(options);
  let connected = false;
  client.on("error", (err) => {
    if (!connected) throw err;
  });
  // Until redis 4, and in ioredis, a client connects by itself.
  await (/^redis(-4)?$/.test(name) ? client.connect() : once(client, "ready"));
  connected = true;
  return client;
}
