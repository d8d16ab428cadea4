// Follows a change stream with npm `eventsource` and prints what a program gets to see, one JSON object a
// line. Driven by tests/tests/loopback.rs; the one argument is JSON:
//   url
//   keep_id   whether the client says where it was when it comes back; true by default
// Lines: {"open"}, {"data", "id"} of each change, {"failed": {"code", "message", "state", "data"}}.
"use strict";

const { EventSource } = require("eventsource");

const config = JSON.parse(process.argv[2]);

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

/// What older clients do: they come back as if for the first time.
function forgetful(url, init) {
  const { "Last-Event-ID": _, ...headers } = init.headers;
  return fetch(url, { ...init, headers });
}

process.stdin.resume().on("end", () => process.exit());
const source = new EventSource(config.url, config.keep_id === false ? { fetch: forgetful } : {});
source.onopen = () => print({ open: true });
source.onmessage = (e) => print({ message: e.data });
source.addEventListener("data", (e) => print({ data: JSON.parse(e.data), text: e.data, id: e.lastEventId }));
source.addEventListener("error", (e) => {
  const { code = null, message = null, data = null } = e;
  print({ failed: { code, message, state: source.readyState, data: data && JSON.parse(data) } });
});
