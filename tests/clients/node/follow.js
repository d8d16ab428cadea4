// Follows an event source with the official driver for Node and prints what a program gets to see,
// one JSON object a line. Driven by tests/tests/drivers.rs; the one argument is JSON:
//   client    "http2" (the driver's default in Node) or "fetch" (its FetchClient, as in browsers)
//   mode      "stream", "iterate" (the same by `for await`, whose body takes body_ms), "feed" (every page until has_next is false), "query", or "paginate" (a set, page
//             by page)
//   endpoint, secret; token, or query; cursor, page_size where wanted
//   query     FQL in pieces: texts, and {"value"}, {"query"} or {"source"} (a token) for what a program
//             interpolates
//   arguments of the query, by name
//   count     a stream ends itself after so many events
//   timeout_ms  the driver's query_timeout_ms
//   max_attempts  of a stream, by default far more than a test breaks connections
//   resume    go on from the last cursor by hand where the driver does not do it by itself
// Lines: {"open"}, {"event"}, {"page"}, {"answer"}, {"error"}, {"end"}.
"use strict";

const {
  Client, DateStub, Document, FaunaError, FetchClient, Module, NullDocument, Page, StreamToken,
  TimeStub, fql,
} = require("fauna");

const config = JSON.parse(process.argv[2]);

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

/// A value together with the class that the driver made of it.
function shown(value) {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return { number: String(value) };
  if (typeof value === "bigint") return { bigint: String(value) };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("base64") };
  if (value instanceof DateStub) return { date: value.dateString };
  if (value instanceof TimeStub) return { time: value.isoString };
  if (value instanceof Module) return { module: value.name };
  if (value instanceof StreamToken) return { source: value.token };
  if (value instanceof Page) return { set: { data: value.data.map(shown), more: value.after !== undefined } };
  if (value instanceof NullDocument) return { missing: { id: value.ref.id, cause: value.cause } };
  if (Array.isArray(value)) return value.map(shown);
  if (value instanceof Document) {
    const { id, coll, ts, ...fields } = value;
    return { document: { id, coll: coll.name, ts: ts.isoString, fields: object(fields) } };
  }
  return { object: object(value) };
}

function object(fields) {
  // The driver's Document has an undefined `ttl` when there is none.
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, shown(value)]));
}

function event({ type, txn_ts, cursor, data }) {
  return { type, txn_ts, cursor, data: data === undefined ? null : shown(data) };
}

function error(e) {
  print({
    error: {
      class: e.constructor.name,
      drivers_own: e instanceof FaunaError,
      code: e.code ?? null,
      status: e.httpStatus ?? null,
      message: e.message,
      summary: e.queryInfo?.summary ?? null,
      abort: e.abort === undefined ? null : shown(e.abort),
    },
  });
}

function client() {
  const endpoint = new URL(config.endpoint);
  const options = { endpoint, secret: config.secret, long_type: "bigint" };
  if (config.timeout_ms) options.query_timeout_ms = config.timeout_ms;
  if (config.client !== "fetch") return new Client(options);
  return new Client(options, new FetchClient({ url: endpoint.href, fetch_keepalive: false }));
}

/// The query of the pieces.
function query(pieces) {
  const texts = [""];
  const values = [];
  for (const piece of pieces) {
    if (typeof piece === "string") {
      texts[texts.length - 1] += piece;
    } else {
      if ("query" in piece) values.push(query(piece.query));
      else values.push("source" in piece ? new StreamToken(piece.source) : piece.value);
      texts.push("");
    }
  }
  return fql(texts, ...values);
}

function source() {
  return config.query ? query(config.query) : { token: config.token };
}

async function ask() {
  const driver = client();
  const options = { arguments: config.arguments };
  try {
    if (config.mode === "paginate") {
      for await (const page of driver.paginate(query(config.query))) print({ answer: page.map(shown) });
    } else {
      const answer = await driver.query(query(config.query), options);
      print({ answer: shown(answer.data) });
    }
    print({ end: true });
  } catch (e) {
    error(e);
  } finally {
    driver.close();
  }
}

/// Follows until `count` events came. By `start`, the way that loses nothing: a `for await` whose
/// body waits for anything makes the driver's HTTP/2 client overwrite what comes meanwhile.
function stream() {
  const driver = client();
  let left = config.count;
  let last = config.cursor;
  const follow = () => {
    const options = { status_events: true, max_attempts: config.max_attempts ?? 100, max_backoff: 0.2 };
    if (last) options.cursor = last;
    const followed = driver.stream(source(), options);
    followed.start(
      (e) => {
        // After close() the driver may still hand over what was in its buffer.
        if (left === 0) return;
        last = e.cursor;
        if (e.type === "status") return print({ open: e.cursor });
        print({ event: event(e) });
        left -= 1;
        if (left === 0) {
          print({ end: true });
          followed.close();
          driver.close();
        }
      },
      (e) => {
        if (left === 0) return;
        if (config.resume && e.constructor.name === "NetworkError") {
          setTimeout(follow, 50);
          return;
        }
        error(e);
        driver.close();
      },
    );
  };
  follow();
}

/// Follows by `for await`, as the documentation does; the body waits for something else each time.
async function iterate() {
  const driver = client();
  const followed = driver.stream(source(), { status_events: true, max_attempts: 100, max_backoff: 0.2 });
  let left = config.count;
  try {
    for await (const e of followed) {
      if (e.type === "status") {
        print({ open: e.cursor });
        continue;
      }
      print({ event: event(e) });
      left -= 1;
      if (left === 0) break;
      if (config.body_ms) await new Promise((done) => setTimeout(done, config.body_ms));
    }
    print({ end: true });
  } catch (e) {
    error(e);
  }
  followed.close();
  driver.close();
}

async function feed() {
  const driver = client();
  const options = {};
  if (config.page_size) options.page_size = config.page_size;
  if (config.cursor) options.cursor = config.cursor;
  try {
    for await (const page of driver.feed(source(), options)) {
      const events = [];
      for (const e of page.events) events.push(event(e));
      print({ page: { events, cursor: page.cursor, has_next: page.hasNext } });
    }
    print({ end: true });
  } catch (e) {
    error(e);
  } finally {
    driver.close();
  }
}

if (config.mode === "feed") feed();
else if (config.mode === "stream") stream();
else if (config.mode === "iterate") iterate();
else ask();
