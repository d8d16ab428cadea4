//! The table that is followed, and raw sockets that follow it.

use event_source_tests::consume::websocket::WebSocket;
use event_source_tests::{Cluster, Options, jwt};
use postgres::Client;
use serde_json::{Value, json};

pub(crate) use event_source_tests::wait::LONG;

/// A cluster that serves, with messages in it.
pub(crate) struct Board {
    pub cluster: Cluster,
    pub client: Client,
    /// Of role `reader`, which may read and nothing else.
    pub secret: String,
}

impl Board {
    pub(crate) fn open() -> Self {
        // Pages come from a server of their own.
        Self::of(Cluster::options().conf("event_source.cors_origins", "*"))
    }

    pub(crate) fn of(options: Options) -> Self {
        let cluster = options
            .conf("event_source.jwt_key_file", jwt::KEY_FILE)
            .conf("event_source.jwt_parent_role", "parent")
            .start();
        jwt::put_key(&cluster, jwt::SECRET);
        let mut client = cluster.connect();
        client.batch_execute(SCHEMA).expect("the board can be created");
        let secret = client.query_one("SELECT event_source.create_secret('reader')", &[]);
        let secret = secret.expect("a secret").get(0);
        let _serving = cluster.serving();
        Self { cluster, client, secret }
    }

    /// Each is a transaction of its own.
    pub(crate) fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            self.client.batch_execute(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }

    /// A raw socket of the reader's.
    pub(crate) fn socket(&self) -> Raw {
        Raw(self.at(&format!("/websocket?access_token={}", self.secret)))
    }

    pub(crate) fn at(&self, path: &str) -> WebSocket {
        WebSocket::open(self.cluster.http(), path).expect("the socket opens")
    }
}

/// A socket without an SDK. Pings are answered, as the SDK does.
#[derive(Debug)]
pub(crate) struct Raw(pub(crate) WebSocket);

impl Raw {
    pub(crate) fn send(&mut self, message: &Value) {
        self.0.send(message).expect("the socket is open");
    }

    /// The next message; `None` when the server has closed.
    pub(crate) fn next(&mut self) -> Option<Value> {
        loop {
            let message = self.0.next(LONG).expect("a message in time")?;
            if message != json!({ "type": "ping" }) {
                return Some(message);
            }
            self.send(&json!({ "type": "pong" }));
        }
    }

    /// What a message is answered with.
    pub(crate) fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.next().expect("an answer")
    }

    /// The items that a subscription begins with.
    pub(crate) fn subscribe(&mut self, more: Value) -> Value {
        let mut message = json!({ "type": "subscribe", "collection": "messages" });
        for (name, value) in more.as_object().expect("an object") {
            message[name] = value.clone();
        }
        let answer = self.ask(&message);
        assert_eq!(answer["event"], "init", "{message}: {answer}");
        answer["data"].clone()
    }

    /// The next event and its items.
    pub(crate) fn event(&mut self) -> (String, Value) {
        let message = self.next().expect("an event");
        assert_eq!(message["type"], "subscription", "{message}");
        (message["event"].as_str().expect("a text").to_owned(), message["data"].clone())
    }
}

const SCHEMA: &str = "
CREATE TABLE messages (
    id int PRIMARY KEY, text text, n int, big bigint, amount numeric, ts timestamptz, js jsonb,
    ok boolean, who uuid
);
CREATE TABLE other (id bigint PRIMARY KEY, secret text);
CREATE TABLE keyless (n int);
CREATE ROLE reader; CREATE ROLE parent; GRANT reader TO parent;
GRANT SELECT ON messages, keyless TO reader;
SELECT event_source.capture('messages'), event_source.capture('other'), event_source.capture('keyless');
";
