//! Directus' SDK in a process of its own, and what its loops get to see.

use event_source_tests::Cluster;
use event_source_tests::program::Program;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sdk {
    Node26,
    Node18,
    Chromium,
}

impl Sdk {
    pub(crate) const ALL: [Self; 3] = [Self::Node26, Self::Node18, Self::Chromium];

    /// Starts the program and lets it connect. `config` is what `tests/clients/node/directus.mjs` explains.
    pub(crate) fn start(self, cluster: &Cluster, mut config: Value) -> Subscriber {
        config["url"] = json!(format!("http://{}", cluster.http()));
        config["sdk"] = json!(match self {
            Self::Node26 => "26",
            Self::Node18 => "18",
            Self::Chromium => "chromium",
        });
        Subscriber(Program::node("directus.mjs", &config))
    }
}

/// The SDK at work. Dropping it lets it end.
#[derive(Debug)]
pub(crate) struct Subscriber(Program);

impl Subscriber {
    /// Waits until it is connected.
    pub(crate) fn connected(mut self) -> Self {
        self.find("connected", |line| line["connected"] == true);
        self.find("ready", |line| line["ready"] == true);
        self
    }

    /// Whether it could connect.
    pub(crate) fn could_connect(mut self) -> bool {
        let tried = |line: &Value| line["connected"] == true || line["refused"].is_string();
        self.find("an outcome", tried)["connected"] == true
    }

    /// Why it could not connect.
    pub(crate) fn refused(mut self) -> String {
        let line = self.find("a refusal", |line| line["refused"].is_string());
        line["refused"].as_str().expect("a text").to_owned()
    }

    pub(crate) fn tell(&mut self, command: &Value) {
        self.0.tell(command);
    }

    pub(crate) fn subscribe(&mut self, name: &str, collection: &str, options: Value) {
        let subscribe = json!({ "name": name, "collection": collection, "options": options });
        self.tell(&json!({ "subscribe": subscribe }));
    }

    /// The next message of a subscription's loop.
    pub(crate) fn message(&mut self, name: &str) -> Value {
        let line = self.find("a message", |line| line["of"] == name);
        assert!(line["message"].is_object(), "no message of {name}: {line}");
        line["message"].clone()
    }

    /// The `init` of a subscription: its items.
    pub(crate) fn init(&mut self, name: &str) -> Value {
        let message = self.message(name);
        assert_eq!((&message["type"], &message["event"]), (&json!("subscription"), &json!("init")));
        message["data"].clone()
    }

    /// The items of the next message, which is of this event.
    pub(crate) fn event(&mut self, name: &str, event: &str) -> Value {
        let message = self.message(name);
        assert_eq!(message["event"], event, "{name}: {message}");
        message["data"].clone()
    }

    /// That the loop has ended by itself.
    pub(crate) fn ended(&mut self, name: &str) {
        let line = self.find("the end", |line| line["of"] == name);
        assert_eq!(line["end"], true, "{name}: {line}");
    }

    /// What the loop threw.
    pub(crate) fn thrown(&mut self, name: &str) -> Value {
        let line = self.find("an exception", |line| line["of"] == name);
        assert!(!line["thrown"].is_null(), "{name}: {line}");
        line["thrown"].clone()
    }

    /// The next line like that; those before it are kept for others.
    #[track_caller]
    pub(crate) fn find(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.0.find(what, wanted)
    }
}
