// socket.io on the sessions of the HTTP routes.
import express from "express";
import { createClient } from "redis";
import { Server } from "socket.io";
import { config, listen, sessions } from "./base.mjs";

const subscriber = await createClient({ url: config.redis }).connect();

const app = express();
app.use(sessions);
app.get("/read", (req, res) => res.json({ user: req.session.passport?.user ?? null }));

const io = new Server(listen(app));
io.engine.use(sessions);
io.use((socket, next) => {
  next(socket.request.session.passport?.user ? null : new Error("signed out"));
});
io.on("connection", (socket) => {
  socket.join(socket.request.sessionID);
  if (config.recipe.reload) {
    socket.use((event, next) => {
      socket.request.session.reload((err) => (err ? socket.disconnect(true) : next()));
    });
  }
  socket.on("whoami", (answer) => answer(socket.request.session.passport.user));
});

await subscriber.subscribe("signed-out", (sid) => io.in(sid).disconnectSockets(true));
