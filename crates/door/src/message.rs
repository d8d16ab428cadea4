//! What is said through the door.
//!
//! The server asks ([`ToWorker`]); the worker answers each request by its number and, unasked,
//! sends the tail ([`ToServer`]). The worker is single-threaded and the pair keeps order, hence the
//! rule on which a stream's exactness rests: **a [`ToServer::Batch`] that says `live` is up to date
//! with every tail sent before it, and every tail sent after it goes on from there.**

use event_source_model::cost::Cost;
use event_source_model::event::{Page, Refusal, View};
use event_source_model::events::Events;
use event_source_model::position::Position;
use event_source_model::query::{Answered, Ask, Failure};
use event_source_model::source::Start;
use serde::{Deserialize, Serialize};

pub use crate::changes::{Changes, SeenBy, TailChange};
use crate::hosts::Hosts;
use crate::limits::Limits;
use crate::protocols::Protocols;

/// Raised with every change to a type below. The worker refuses a server of another version.
pub const PROTOCOL: u32 = 9;

/// Numbers a request of the server's; the answer carries it.
pub type RequestId = u64;
/// Numbers a definition that the worker evaluates; equal definitions have one number.
pub type SourceId = u64;
/// Numbers what a stream may be read by: its source, its token and the credential beside it. Streams
/// that were opened by the same have one number.
pub type GrantId = u64;

/// From the server to the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message.
    Hello { protocol: u32, version: String },
    /// Open a stream, which may begin before its token does or not. Answered by `Opened` or `Refused`;
    /// each `Opened` is ended by one `Close`. With `first`, what the stream begins with comes right behind.
    Open {
        request: RequestId,
        access: Access,
        start: StartAt,
        before_token: bool,
        first: Option<First>,
    },
    /// Events of an open stream behind `from`, at most `limit`. Answered by a `Batch`, in parts, or `Refused`.
    Read { request: RequestId, grant: GrantId, from: Position, limit: u32 },
    /// As many events more for a read that goes on, so that the worker need not stop in between. It does
    /// nothing if the read has ended meanwhile.
    More { request: RequestId, limit: u32 },
    /// One page of a feed. Answered by a `Page`, in parts, or `Refused`.
    Page { request: RequestId, access: Access, start: StartAt, page: PageAsked },
    /// Whether what was opened may still be read, and is followed up to now. Answered by `Polled`, behind the
    /// tail with everything that was closed when it was asked, and behind the `Lost` or `Ended` of what
    /// may not; or by `Refused`.
    Poll { request: RequestId, grants: Vec<GrantId> },
    /// What a query asks for, by the role of the secret or JWT, or by that of those who give none.
    /// Answered by `Answered`, `Failed` or `Refused`.
    Query { request: RequestId, secret: Option<String>, ask: Ask },
    /// A stream ended.
    Close { grant: GrantId },
    /// How many streams are open; when that changed, at most once a second.
    Streams(u32),
    /// The sandbox that the server has put itself into; sent once, when it starts.
    Confined { landlock: bool, seccomp: bool },
    /// The answer to `Ping`.
    Pong,
}

/// What a stream is read at once when it is opened, unless the server's memory has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    /// At most so many events.
    pub limit: u32,
    /// The server remembers every tail that ends above this; `None` when there is none.
    pub remembered: Option<i64>,
}

/// Who asks for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Access {
    pub token: String,
    /// A secret or JWT given beside the token; both must allow.
    pub secret: Option<String>,
}

/// How much one page may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageAsked {
    /// Events.
    pub size: u32,
    /// Milliseconds of the worker; `None` for as long as a page may take.
    pub time_ms: Option<u32>,
}

/// Where a reader wants to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartAt {
    /// Where the token starts.
    Token,
    /// Behind an encoded cursor.
    Cursor(String),
    /// Behind every transaction up to this one; microseconds since 1970.
    Timestamp(i64),
    /// With the set's rows as they are, then with what happens from now on.
    Snapshot,
}

/// From the worker to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToServer {
    /// The answer to `Hello`.
    Welcome {
        version: String,
        config: Config,
    },
    /// The settings changed.
    Config(Config),
    Opened {
        request: RequestId,
        opened: Opened,
    },
    Refused {
        request: RequestId,
        refusal: Refusal,
    },
    Batch {
        request: RequestId,
        batch: Batch,
    },
    /// `goes_on`: another part of the same page follows, behind this one's position.
    Page {
        request: RequestId,
        page: Page,
        goes_on: bool,
    },
    Answered {
        request: RequestId,
        answered: Answered,
    },
    /// The query names what is not there, or what its role may not see.
    Failed {
        request: RequestId,
        failure: Failure,
    },
    /// Everything that was closed when the `Poll` was asked has been sent.
    Polled {
        request: RequestId,
    },
    /// What was committed since the last tail.
    Tail(Tail),
    /// Something in the log of before was erased: what is held of it in memory must go. Comes before
    /// the tail that says so.
    Forget,
    /// The source ended for good: rights lost, released, dropped, changed. Sent once; streams of
    /// it get this refusal as their protocol's terminal error.
    Ended {
        source: SourceId,
        refusal: Refusal,
    },
    /// What some streams were opened by is worth nothing any more: token or secret revoked, the rights of
    /// the credential's role lost. As `Ended`, for these streams alone. Comes before the tail with the
    /// first change that was committed after that.
    Lost {
        grant: GrantId,
        refusal: Refusal,
    },
    /// Is anybody there? Answered by `Pong`, in the order of what is said.
    Ping,
    /// Say goodbye to the clients and exit.
    Stop,
}

/// The settings that the server needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub status_interval_ms: u64,
    pub tail_memory_bytes: u64,
    /// The bytes that the server may hold in memory.
    pub server_memory_bytes: u64,
    pub worker_threads: u32,
    pub max_clients: u32,
    pub max_streams: u32,
    pub cors_origins: String,
    pub require_secret: bool,
    pub limits: Limits,
    pub protocols: Protocols,
    pub allowed_hosts: Hosts,
    /// Whether clients without a credential are somebody: `event_source.anonymous_role` is set.
    pub has_anonymous_role: bool,
    pub jwt_key: JwtKey,
}

/// The key by which the server verifies JWTs before it asks the worker, which verifies them again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtKey {
    /// The worker has not read it: it does at the first JWT.
    #[default]
    Unread,
    /// There is none, and no JWT is good.
    None,
    /// A shared secret, which the server does not get: it could sign JWTs by it.
    Secret,
    /// The file of a public key.
    Public(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// A stream may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub source: SourceId,
    pub grant: GrantId,
    /// The number of the role as which the source is evaluated.
    pub role: u32,
    pub view: View,
    /// Where to read from.
    pub position: Position,
    /// Its `seen` transactions are skipped as long as the position says so, see
    /// [`Position::skipping`]; a position that says nothing skips nothing.
    pub start: Start,
    /// Every tail that ends above this was matched against the source, so that a server that
    /// still holds them all need not ask for a `Batch`.
    pub matched_since: i64,
    /// When the token or the credential beside it ends, whichever is first; microseconds since 1970.
    pub expires: Option<i64>,
    /// The number of its collection; see [`Tail::looked_at`].
    pub collection: u64,
    /// A `Batch` follows, by the number of this request.
    pub reads: bool,
}

/// A piece of catch-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub events: Events,
    /// Where the next piece starts.
    pub position: Position,
    /// Another part of the same batch follows, behind this one's position: the server renders one while the
    /// worker reads the next.
    pub goes_on: bool,
    /// Nothing is left before the tail: see the module's rule.
    pub live: bool,
    /// Ends the stream after `events`.
    pub error: Option<Refusal>,
    /// What reading took, without the bytes of what is in `events`: whoever decodes those counts them.
    pub cost: Cost,
}

/// Everything between two closed timestamps that some open source wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Where the tail before ended: this one holds everything in `(since, end]`.
    pub since: i64,
    /// Behind the last transaction that was sent. Streams stand here, not at the closed timestamp, above
    /// which nothing may be yet: after a failover nobody could say whether such a place is common
    /// to both servers.
    pub end: Position,
    /// The closed timestamp: nothing else is there up to it.
    pub closed: i64,
    pub changes: Changes,
    /// By collection: what was evaluated for it, wanted by somebody or not.
    pub looked_at: Vec<(u64, Cost)>,
}
