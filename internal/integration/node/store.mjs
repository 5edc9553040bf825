// The majors of connect-redis, each with the client its time had.
import session from "express-session";

const majors = {
  async 10({ client, ...options }) {
    const { RedisStore } = await import("connect-redis");
    return new RedisStore({ client: await connect("redis", client), ...options });
  },
  async 8({ client, ...options }) {
    const { RedisStore } = await import("connect-redis-8");
    return new RedisStore({ client: await connect("redis-4", client), ...options });
  },
  async 7({ client, ...options }) {
    const { default: RedisStore } = await import("connect-redis-7");
    return new RedisStore({ client: await connect("redis-4", client), ...options });
  },
  async 6({ client, ...options }) {
    const { default: major6 } = await import("connect-redis-6");
    const RedisStore = major6(session);
    return new RedisStore({ client: await connect("redis-4", { ...client, legacyMode: true }), ...options });
  },
};

export function connectStore({ connectRedis, redis, storeOptions }) {
  return majors[connectRedis]({ client: { url: redis }, ...storeOptions });
}

// An error before the first connection ends the process; later the client
// reconnects by itself.
async function connect(name, options) {
  const { createClient } = await import(name);
  const client = createClient(options);
  let connected = false;
  client.on("error", (err) => {
    if (!connected) throw err;
  });
  await client.connect();
  connected = true;
  return client;
}
