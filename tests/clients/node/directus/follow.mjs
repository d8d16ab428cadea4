// What a program does with Directus' SDK, in Node and in a browser alike: connects, subscribes and iterates
// as the documentation shows, by commands that come one after another. What it sees is printed:
//   {"connected": true} or {"refused": text}
//   {"of": name, "message"} for each message of an iterated subscription; {"of", "end": true}; {"of", "thrown"}
//   {"heard": message} for every message of the socket, where config.raw is set; {"event": "open"|"close"}
export async function follow(sdk, config, WebSocket, print) {
  let client = sdk.createDirectus(config.url, WebSocket ? { globals: { WebSocket } } : undefined);
  if (config.token) client = client.with(sdk.staticToken(config.token));
  const options = { authMode: config.authMode, reconnect: { delay: 100, retries: 100 } };
  if (config.heartbeat === false) options.heartbeat = false;
  client = client.with(sdk.realtime(options));
  const stops = {};
  if (config.raw) client.onWebSocket("message", (message) => print({ heard: message }));
  client.onWebSocket("open", () => print({ event: "open" }));
  client.onWebSocket("close", (event) => print({ event: "close", code: event.code }));

  async function iterate(name, subscription) {
    try {
      for await (const message of subscription) print({ of: name, message });
      print({ of: name, end: true });
    } catch (thrown) {
      print({ of: name, thrown: thrown instanceof Error ? String(thrown) : thrown });
    }
  }

  try {
    await client.connect();
    print({ connected: true });
  } catch (error) {
    print({ refused: String(error?.message ?? error) });
  }
  return async (command) => {
    if (command.subscribe) {
      const { name, collection, options } = command.subscribe;
      const { subscription, unsubscribe } = await client.subscribe(collection, options);
      stops[name] = unsubscribe;
      iterate(name, subscription);
    } else if (command.unsubscribe) {
      stops[command.unsubscribe]();
    } else if (command.send) {
      client.sendMessage(command.send);
    } else if (command.disconnect) {
      client.disconnect();
    }
  };
}
