// Follows a native stream with npm `ws` and prints what a program gets to see, one JSON object a line. Driven
// by tests/tests/websocket.rs; the one argument is JSON:
//   url
// Lines: {"open"}, {"event"} of each message, {"pong"} once a ping is answered, {"closed": {"code",
// "reason"}}, {"refused"} with the status of HTTP.
"use strict";

const { WebSocket } = require("ws");

const config = JSON.parse(process.argv[2]);

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

process.stdin.resume().on("end", () => process.exit());
const socket = new WebSocket(config.url);
socket.on("open", () => {
  print({ open: true });
  socket.ping();
});
socket.on("pong", () => print({ pong: true }));
socket.on("message", (data) => print({ event: JSON.parse(data.toString()) }));
socket.on("unexpected-response", (_, response) => {
  print({ refused: response.statusCode });
  socket.terminate();
});
socket.on("error", () => {});
socket.on("close", (code, reason) => print({ closed: { code, reason: reason.toString() } }));
