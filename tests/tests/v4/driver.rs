//! A `faunadb` driver in a process of its own, and what its program printed.

use event_source_tests::Cluster;
use event_source_tests::program::Program;
use serde_json::{Value, json};

/// Which driver, over which of its transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    Node,
    /// HTTP/1.1.
    NodeFetch,
    Python,
}

pub(crate) const DRIVERS: [Driver; 3] = [Driver::Node, Driver::NodeFetch, Driver::Python];

/// A driver at work.
#[derive(Debug)]
pub(crate) struct Following(Program);

impl Driver {
    /// Starts the program. `config` is what `tests/clients/node/v4.js` explains.
    pub(crate) fn start(self, cluster: &Cluster, secret: &str, config: &Value) -> Following {
        let mut config = config.clone();
        let address = cluster.http();
        config["host"] = json!(address.ip().to_string());
        config["port"] = json!(address.port());
        config["secret"] = json!(secret);
        let program = match self {
            Self::Node | Self::NodeFetch => {
                config["client"] = json!(if self == Self::NodeFetch { "fetch" } else { "http2" });
                "node/v4.js"
            }
            Self::Python => "python/v4.py",
        };
        Following(Program::driver(program, &config))
    }

    /// Follows an expression to its `count`th event.
    pub(crate) fn stream(
        self,
        cluster: &Cluster,
        secret: &str,
        expr: &Value,
        fields: &[&str],
        count: usize,
    ) -> Following {
        let mut config = json!({ "mode": "stream", "expr": expr, "count": count });
        if !fields.is_empty() {
            config["fields"] = json!(fields);
        }
        self.start(cluster, secret, &config).opened()
    }
}

impl Following {
    /// What the next line says of this name.
    #[track_caller]
    pub(crate) fn says(&self, name: &str) -> Value {
        self.0.said(name)
    }

    /// Waits until the stream is open.
    #[track_caller]
    pub(crate) fn opened(self) -> Self {
        let start = self.says("start");
        assert!(start["txn"].is_i64() && start["txn"] == start["event"], "{start}");
        self
    }

    /// The next events, each with its type and its transaction, and that the program then ended well.
    #[track_caller]
    pub(crate) fn events(self, kind: &str, count: usize) -> Vec<Value> {
        let events = (0..count).map(|_| self.says(kind)).collect();
        self.ended();
        events
    }

    #[track_caller]
    pub(crate) fn ended(&self) {
        assert_eq!(self.0.line_or_end(), Some(json!({ "end": true })), "more than was to come");
    }

    /// The error that the user's program was told, the first thing to come.
    #[track_caller]
    pub(crate) fn error(&self) -> Value {
        self.says("error")
    }
}
