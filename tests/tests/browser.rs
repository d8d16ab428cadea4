//! Headless Chromium against a real cluster: its own `EventSource`, `fetch` and `WebSocket`, on pages of the
//! server's own origin and of another one.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::time::Duration;

use crate::loopback::models::{models, run};
use event_source_tests::follow::mint;
use event_source_tests::processes::Signal;
use event_source_tests::program::Program;
use event_source_tests::wait::LONG;
use event_source_tests::{Cluster, wait_until};
use postgres::Client;
use serde_json::{Value, json};

/// Something that comes would have come by then.
const SHORT: Duration = Duration::from_millis(500);

/// Chromium with a page of the server's own origin, as `host` calls it.
fn chromium(cluster: &Cluster, host: &str, scripts: &[&str]) -> Program {
    let page = format!("http://{host}:{}/health", cluster.http().port());
    let program = Program::node("browser.js", &json!({ "page": page, "scripts": scripts }));
    assert_eq!(program.said("ready"), json!(true));
    program
}

/// Waits until a script has logged this.
#[track_caller]
fn logged(program: &Program, expected: &Value) {
    assert_eq!(program.said("console"), json!([expected]));
}

fn anonymous(cluster: &Cluster, client: &mut Client) {
    cluster.set("event_source.anonymous_role", "reader");
    cluster.reload();
    wait_until("the setting to count", LONG, || {
        let shown = client.query_one("SHOW event_source.anonymous_role", &[]).unwrap();
        shown.get::<_, &str>(0) == "reader"
    });
}

fn wait_for_streams(client: &mut Client, n: i32) {
    let streams = "SELECT streams::int FROM event_source.status";
    wait_until("the streams to be there", LONG, || {
        client.query_one(streams, &[]).unwrap().get::<_, i32>(0) == n
    });
}

/// In one cluster: a cluster takes longer than most of them.
#[test]
fn a_page_of_the_servers_own_origin_follows_changes() {
    let (cluster, mut client, secret) = models();
    anonymous(&cluster, &mut client);
    for behaves in [
        the_documentations_script_logs_the_change_objects,
        a_live_set_of_a_page_is_the_table,
        a_browser_comes_back_where_it_was,
        a_browser_stops_at_what_no_coming_back_heals,
    ] {
        let empty = "TRUNCATE mymodel, note, person, \"Odd\"";
        run(&mut client, &[empty]);
        // The worker counts a closed page's stream for up to a second: the next page's would seem to be there
        // before it is, and the changes come too early for it.
        wait_for_streams(&mut client, 0);
        behaves(&cluster, &mut client, &secret);
    }
}

/// The seed document's script, as it is printed there.
const BROWSER_SCRIPT: &str = "
var urlToChangeStream = '/api/MyModels/change-stream?_format=event-stream';
var src = new EventSource(urlToChangeStream);
src.addEventListener('data', function(msg) {
  var data = JSON.parse(msg.data);
  console.log(data); // the change object
});
";

fn the_documentations_script_logs_the_change_objects(
    cluster: &Cluster,
    client: &mut Client,
    _secret: &str,
) {
    let program = chromium(cluster, "127.0.0.1", &[BROWSER_SCRIPT]);
    wait_for_streams(client, 1);
    run(
        client,
        &[
            "INSERT INTO mymodel (foo, id) VALUES ('bar', 2)",
            "UPDATE mymodel SET n = 1",
            "DELETE FROM mymodel",
        ],
    );
    let row = |n: Value| json!({ "foo": "bar", "n": n, "when": null, "id": 2 });
    logged(&program, &json!({ "target": 2, "data": row(Value::Null), "type": "create" }));
    logged(&program, &json!({ "target": 2, "data": row(json!(1)), "type": "update" }));
    logged(
        &program,
        &json!({ "target": 2, "where": { "id": 2 }, "data": row(json!(1)), "type": "remove" }),
    );
}

/// What angular-live-set makes of changes, and a burst, a large row and a row that comes back.
const LIVE_SET: &str = "
var rows = [];
var src = new EventSource('/api/MyModels/change-stream');
function at(target) {
  for (var i = 0; i < rows.length; i++) if (rows[i].id === target) return i;
  return -1;
}
src.addEventListener('data', function(msg) {
  var change = JSON.parse(msg.data);
  if (change.type === 'create') rows.push(change.data);
  else if (change.type === 'update') rows[at(change.target)] = change.data;
  else rows.splice(at(change.target), 1);
  if (change.target !== 'end' && change.target === -1) {
    rows.sort(function(a, b) { return a.id - b.id; });
    console.log(rows.map(function(row) { return [row.id, row.n, (row.foo || '').length]; }));
  }
});
";

fn a_live_set_of_a_page_is_the_table(cluster: &Cluster, client: &mut Client, _secret: &str) {
    let program = chromium(cluster, "127.0.0.1", &[LIVE_SET]);
    wait_for_streams(client, 1);
    run(
        client,
        &[
            "INSERT INTO mymodel (id, n) SELECT i, i FROM generate_series(1, 1000) i",
            "UPDATE mymodel SET n = -n WHERE id % 3 = 0",
            "DELETE FROM mymodel WHERE id % 7 = 0",
            "UPDATE mymodel SET id = id + 5000 WHERE id % 11 = 0",
            "UPDATE mymodel SET foo = repeat('ü\u{2028}', 500000) WHERE id = 1",
            "INSERT INTO mymodel (id) VALUES (-1)",
        ],
    );
    let rows =
        client.query("SELECT id, n, length(coalesce(foo, '')) FROM mymodel ORDER BY id", &[]);
    let table: Vec<Value> = rows
        .unwrap()
        .iter()
        .map(|r| json!([r.get::<_, i32>(0), r.get::<_, Option<i32>>(1), r.get::<_, i32>(2)]))
        .collect();
    logged(&program, &json!(table));
}

/// The server is killed under the page, which comes back by itself.
fn a_browser_comes_back_where_it_was(cluster: &Cluster, client: &mut Client, _secret: &str) {
    let script = "
        var src = new EventSource('/api/MyModels/change-stream');
        src.onerror = function() { console.log('error', src.readyState); };
        src.addEventListener('data', function(msg) { console.log(JSON.parse(msg.data).target); });
    ";
    let program = chromium(cluster, "127.0.0.1", &[script]);
    wait_for_streams(client, 1);
    // Also before the first event: the comment that a stream begins with says where it is.
    for id in [1, 2] {
        cluster.serving().1.signal(Signal::KILL);
        assert_eq!(program.said("console"), json!(["error", 0]));
        run(client, &[&format!("INSERT INTO mymodel (id) VALUES ({id})")]);
        loop {
            let said = program.said("console");
            if said == json!([id]) {
                break;
            }
            assert_eq!(said, json!(["error", 0]));
        }
    }
}

/// What a page does with a change stream and with a native stream, in every way that it has. Each logs what
/// it got of row 1, or that it could not.
const READERS: &str = "
function log(name) { return function(what) { console.log({ [name]: what }); }; }
function source(name, url, type, read) {
  var src = new EventSource(url);
  src.addEventListener(type, function(msg) {
    var got = read(JSON.parse(msg.data));
    if (got !== undefined) { log(name)(got); src.close(); }
  });
  src.onerror = function() { if (src.readyState === 2) log(name)('refused'); };
}
function lines(name, url, options, read) {
  fetch(url, options).then(function(response) {
    var reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    var rest = '';
    return reader.read().then(function more(part) {
      var parts = (rest + part.value).split('\\n');
      rest = parts.pop();
      var got = parts.map(read).find(function(got) { return got !== undefined; });
      if (got !== undefined) { reader.cancel(); return got; }
      return reader.read().then(more);
    });
  }).then(log(name), function() { log(name)('refused'); });
}
function socket(name, url, read) {
  var ws = new WebSocket(url);
  ws.onmessage = function(msg) {
    var got = read(JSON.parse(msg.data));
    if (got !== undefined) { ws.onclose = null; ws.close(); log(name)(got); }
  };
  ws.onclose = function() { log(name)('refused'); };
}
function native(event) { return event.type === 'add' ? event.data.id : undefined; }
source('changes', base + '/api/people/change-stream', 'data', function(change) { return change.target; });
// As $resource posts it.
lines('posted', base + '/api/people/change-stream', {
  method: 'POST', headers: { 'Content-Type': 'application/json;charset=utf-8', Accept: 'application/json, text/plain, */*' },
  body: JSON.stringify({ options: { where: { id: 1 } } }),
}, function(line) { return line.startsWith('data: ') ? JSON.parse(line.slice(6)).target : undefined; });
source('events', base + '/v1/stream?token=' + token, 'message', native);
lines('lines', base + '/v1/stream', {
  method: 'POST', headers: { Authorization: 'Bearer ' + token, 'Content-Type': 'application/json' }, body: '{}',
}, function(line) { return native(JSON.parse(line)); });
socket('socket', base.replace('http', 'ws') + '/v1/stream?token=' + token, native);
";

/// What each reader of a page got of a new row.
fn read_from(cluster: &Cluster, client: &mut Client, host: &str, may: bool) -> Value {
    let token = mint(client, "event_source('person')");
    let base = format!("http://127.0.0.1:{}", cluster.http().port());
    let constants = format!("var base = '{base}', token = '{token}';");
    run(client, &["TRUNCATE person"]);
    wait_for_streams(client, 0);
    let program = chromium(cluster, host, &[&constants, READERS]);
    if may {
        wait_for_streams(client, 5);
        run(client, &["INSERT INTO person VALUES (1, 'Ada')"]);
    }
    let mut got = json!({});
    for _ in 0..5 {
        let said = program.said("console");
        for (name, what) in said[0].as_object().unwrap() {
            assert!(got[name].is_null(), "{name} says more than one thing: {said}");
            got[name] = what.clone();
        }
    }
    got
}

#[test]
fn a_page_of_another_origin_reads_where_it_is_allowed_and_not_where_it_is_not() {
    let (cluster, mut client, _) = models();
    anonymous(&cluster, &mut client);
    let all = |what: Value| json!({ "changes": what, "posted": what, "events": what, "lines": what, "socket": what });
    // To a browser the same server under another name is another origin.
    assert_eq!(read_from(&cluster, &mut client, "127.0.0.1", true), all(json!(1)));
    assert_eq!(read_from(&cluster, &mut client, "localhost", false), all(json!("refused")));
    let origin = format!("http://localhost:{}", cluster.http().port());
    cluster.set("event_source.cors_origins", &origin);
    cluster.reload();
    wait_until("the setting to count", LONG, || {
        client.query_one("SHOW event_source.cors_origins", &[]).unwrap().get::<_, &str>(0) == origin
    });
    assert_eq!(read_from(&cluster, &mut client, "localhost", true), all(json!(1)));
}

fn a_browser_stops_at_what_no_coming_back_heals(
    cluster: &Cluster,
    _client: &mut Client,
    _secret: &str,
) {
    let script = "
        var src = new EventSource('/api/Nopes/change-stream');
        src.onerror = function() { console.log('error', src.readyState); };
    ";
    let program = chromium(cluster, "127.0.0.1", &[script]);
    assert_eq!(program.said("console"), json!(["error", 2]));
    assert_eq!(program.line_within(SHORT), None);
}
