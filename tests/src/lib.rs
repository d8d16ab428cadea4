//! The ground that the tests from outside stand on: throw-away clusters of the private PostgreSQL
//! that `make setup` and `make test` prepare, and the clients that follow them.
//!
//! It guarantees that a test which ends, by success or by panic, leaves no process, and no file but the data folder
//! that the next test's cluster is made of.
//! It runs in the test's own process and never writes outside the private folder
//! (`tools/private-dir.sh` says where that is).
//!
//! - [`private`]: which PostgreSQL, and as which user it runs
//! - [`options`], [`cluster`]: a cluster from its making to its removal
//! - `template`: what most clusters are copied from
//! - [`copies`]: base backups, standbys, recovery to a point
//! - [`dumps`]: dumps, and databases made from them
//! - [`members`]: what an extension consists of
//! - [`ground`]: its folders and ports
//! - [`mod@health`]: whether its worker answers
//! - [`processes`]: the worker and the server process of a cluster
//! - [`connections`]: who is connected to it
//! - [`program`]: clients in processes of their own
//! - [`memory`]: the most memory that they held
//! - [`wait`]: the one place that sleeps
//! - [`consume`]: clients of streams and feeds
//! - [`follow`]: reading a set through SQL, and looking closely at refusals
//! - [`rebuild`]: followers that rebuild tables, and what can be wrong with what they were told
//! - [`replay`]: the same events live, replayed from the log, and in pages
//! - [`resume`]: a client that resumes through everything, beside a writer that may notice nothing
#![forbid(unsafe_code)]

pub mod cluster;
pub mod connections;
pub mod consume;
pub mod copies;
pub mod dumps;
pub mod follow;
pub mod ground;
pub mod health;
pub mod jwt;
pub mod members;
pub mod memory;
pub mod options;
pub mod private;
pub mod processes;
pub mod program;
pub mod rebuild;
pub mod replay;
pub mod resume;
mod template;
pub mod wait;

pub use cluster::{Cluster, Stop};
pub use health::health;
pub use options::Options;
pub use private::Build;
pub use processes::{Pid, Signal};
pub use wait::{SetAtEnd, wait_for, wait_until};
