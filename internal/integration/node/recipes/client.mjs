// A socket.io client that a Go test steers: it is started with an address and a
// Cookie header, reads the names of events from standard input, and prints a
// line of JSON for each thing that happens.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, Cookie, transport] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const transports = transport === "upgrade" ? ["polling", "websocket"] : [transport];
const socket = io(url, { transports, extraHeaders: { Cookie }, reconnection: false });
socket.on("connect", () => {
  const { engine } = socket.io;
  const ready = () => say({ connected: engine.transport.name });
  if (transport === "upgrade" && engine.transport.name === "polling") engine.once("upgrade", ready);
  else ready();
});
socket.on("connect_error", (err) => say({ refused: err.message }));
socket.on("disconnect", (reason) => say({ disconnected: reason }));

const lines = createInterface({ input: process.stdin });
lines.on("line", (event) => socket.emit(event, (answer) => say({ answer })));
lines.on("close", () => process.exit());
