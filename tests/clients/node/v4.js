// Follows documents and sets with Fauna's v4 driver for JavaScript (`faunadb`) and prints what a program
// gets to see, one JSON object a line. Driven by tests/tests/v4.rs; the one argument is JSON:
//   mode      "stream", "document" (`client.stream.document`), "query" (Get), "ping", "refused" (the errors of
//             `cases`, each a configuration of its own), "many" (streams of
//             the documents 1 to `count`, all with one client), "counters" (`streams` followers of one
//             document, one after the other, each until its field `n` is `last`)
//   client    "http2" (the driver's default in Node) or "fetch" (cross-fetch, HTTP/1.1)
//   host, port, secret
//   expr      {"ref": [collection, id]}, {"documents": collection}, {"match": [index, ...terms]},
//             {"get": expr}, or {"raw": JSON} as it is sent
//   fields    as the driver's option
//   count     a stream ends itself after so many events; without it, with the first error
//   brief     only how many events there were, how many bytes of text, and the last one's number
// Lines: {"start"}, {"version"}, {"set"}, {"history_rewrite"}, {"snapshot"}, {"error"}, {"end"}, and
// {"answer"}, {"opened"}, {"served"}, {"counted"}.
"use strict";

const faunadb = require("faunadb");
const { values, errors, query: q } = faunadb;

const config = JSON.parse(process.argv[2]);

function print(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

/// A value together with the class that the driver made of it.
function shown(value) {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") return value;
  if (value instanceof values.Ref) {
    const { id, collection } = value;
    return { ref: collection && collection.collection ? [collection.id, id] : [id] };
  }
  if (value instanceof values.FaunaTime) return { time: value.value };
  if (value instanceof values.FaunaDate) return { date: value.value };
  if (value instanceof values.Bytes) return { bytes: Buffer.from(value.value).toString("base64") };
  if (value instanceof values.SetRef) return { set: shown(value.value) };
  if (Array.isArray(value)) return value.map(shown);
  return { object: object(value) };
}

function object(fields) {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, shown(value)]));
}

function error(e) {
  print({
    error: {
      class: e && e.constructor ? e.constructor.name : null,
      drivers_own: e instanceof errors.FaunaHTTPError,
      status: (e.requestResult && e.requestResult.statusCode) || null,
      code: e instanceof Error ? null : (e.code ?? null),
      message: e.message ?? null,
      description: e.description ?? null,
    },
  });
}

function client(secret = config.secret) {
  const options = { secret, domain: config.host, port: config.port, scheme: "http" };
  if (config.client === "fetch") options.fetch = require("cross-fetch");
  return new faunadb.Client(options);
}

function term(of) {
  if (of === null || typeof of !== "object") return of;
  if (of.ref) return expression(of);
  if (of.time) return q.Time(of.time);
  if (of.date) return q.Date(of.date);
  if (of.bytes) return new values.Bytes(of.bytes);
  throw new Error("no term: " + JSON.stringify(of));
}

function expression(of) {
  if (of.ref) return q.Ref(q.Collection(of.ref[0]), of.ref[1]);
  if (of.documents) return q.Documents(q.Collection(of.documents));
  if (of.get) return q.Get(expression(of.get));
  if (of.match) {
    const [index, ...terms] = of.match;
    return terms.length ? q.Match(q.Index(index), terms.map(term)) : q.Match(q.Index(index));
  }
  return new faunadb.Expr(of.raw);
}

function options() {
  return config.fields ? { fields: config.fields } : undefined;
}

function follow() {
  const driver = client();
  const open = config.mode === "document" ? driver.stream.document : driver.stream;
  const followed = open(expression(config.expr), options());
  let left = config.count;
  const seen = { events: 0, bytes: 0, last: null };
  const finish = () => {
    if (config.brief) print({ brief: seen });
    print({ end: true });
    followed.close();
    driver.close();
  };
  const on = (type) => followed.on(type, (event, envelope) => {
    if (left === 0) return;
    if (config.brief) {
      const data = (event.document && event.document.data) || {};
      seen.events += 1;
      seen.bytes += (data.text || "").length;
      seen.last = data.n ?? null;
    } else {
      print({ [type]: { txn: envelope.txn, event: shown(event) } });
    }
    left -= 1;
    if (left === 0) finish();
  });
  ["version", "set", "history_rewrite"].forEach(on);
  followed.on("start", (event, envelope) => print({ start: { txn: envelope.txn, event } }));
  if (config.mode === "document") {
    followed.on("snapshot", (document) => print({ snapshot: shown(document) }));
  }
  let failed = false;
  followed.on("error", (e) => {
    error(e);
    // What the server says is followed by the driver's own word for the end of the body.
    if (failed || e instanceof Error) {
      followed.close();
      driver.close();
      print({ end: true });
    }
    failed = true;
  });
  followed.start();
}

function many() {
  const driver = client();
  let opened = 0;
  let served = 0;
  for (let id = 1; id <= config.count; id += 1) {
    const followed = driver.stream(q.Ref(q.Collection(config.collection), id));
    followed.on("start", () => {
      opened += 1;
      if (opened === config.count) print({ opened });
    });
    followed.on("version", (event) => {
      if (event.document.ref.id !== String(id)) return print({ error: { id } });
      served += 1;
      if (served === config.count) {
        print({ served });
        process.exit(0);
      }
    });
    followed.on("error", (e) => error(e));
    followed.start();
  }
}

/// Each follower starts when the one before has its document, so that they start all the time.
function counters(number) {
  if (number === config.streams) return;
  const driver = client();
  const followed = driver.stream.document(expression(config.expr));
  const counted = [];
  const count = (n) => {
    counted.push(n);
    if (n === config.last) {
      print({ counted });
      followed.close();
      driver.close();
    }
  };
  followed.on("snapshot", (document) => {
    count(document.data.n);
    counters(number + 1);
  });
  followed.on("version", (event) => count(event.document.data.n));
  followed.on("error", (e) => error(e));
  followed.start();
}

async function ask() {
  const driver = client();
  try {
    const answer = config.mode === "ping"
      ? await driver.ping("node")
      : await driver.query(expression(config.expr));
    print({ answer: shown(answer) });
  } catch (e) {
    error(e);
  }
  print({ end: true });
  driver.close();
}

async function refused() {
  for (const { mode, expr, secret } of config.cases) {
    const driver = client(secret);
    const said = mode === "query"
      ? driver.query(expression(expr)).then(() => null, (e) => e)
      : new Promise((done) => {
        const followed = driver.stream(expression(expr));
        const end = (e) => {
          followed.close();
          done(e);
        };
        followed.on("start", () => end(null)).on("error", end).start();
      });
    const e = await said;
    if (e) error(e);
    else print({ accepted: expr });
    driver.close();
  }
}

if (config.mode === "refused") refused();
else if (config.mode === "many") many();
else if (config.mode === "counters") counters(0);
else if (config.mode === "query" || config.mode === "ping") ask();
else follow();
