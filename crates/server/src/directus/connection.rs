//! A socket from its upgrade to its end: one task, which reads, asks the worker, and sends.
//!
//! Guarantees that a message leaves after the client has taken the one before ([`Taken`]). What a client can make
//! grow is bounded: it is read when what it said before was answered, and has at most [`MOST`] subscriptions.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use event_source_door::message::{Access, StartAt};
use event_source_model::event::Refusal;
use event_source_wire::directus::error::{self, Area, Problem};
use event_source_wire::directus::message::{self, Uid};
use tokio::time::{Instant, sleep_until};

use super::ask::{self, Asked};
use super::identity::{Identity, Unknown};
use super::renderer::said;
use super::request::{self, Request, Subscribe};
use super::subscription::{Said, Subscription};
use super::taken::Taken;
use crate::budget::{Peer, Purse};
use crate::hub::{Format, Hub};
use crate::websocket::{GOING_AWAY, Gone, Received, Socket};

/// A client has so long to say who it is.
const AUTH_TIME: Duration = Duration::from_secs(10);
/// Subscriptions of one socket, or `event_source.max_streams_per_connection` if that is less.
const MOST: usize = 200;
/// The worker cannot be asked now.
const TRY_AGAIN: u16 = 1013;

/// What a connection needs besides a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Whoever says nothing is `event_source.anonymous_role`.
    Public,
    /// The credential was in the URL, or must come in the first message.
    Closed,
}

/// How a connection ends.
#[derive(Debug)]
enum End {
    Gone,
    /// Without a code, as Directus closes.
    Closed,
    Stopping,
    Unavailable,
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    hub: Arc<Hub>,
    peer: Peer,
    socket: Socket,
    mode: Mode,
    identity: Identity,
    /// Until when a new credential must come.
    auth_until: Option<Instant>,
    subscriptions: Vec<Subscribed>,
    /// Which of them speaks next.
    turn: usize,
    /// Whether the next message may be sent.
    taken: Taken,
    /// Said while the last message was on its way.
    waiting: Option<String>,
    heart: Heart,
}

#[derive(Debug)]
struct Subscribed {
    subscription: Subscription,
    format: Format,
}

/// Whether the client lives.
#[derive(Debug)]
struct Heart {
    next: Instant,
    /// It was pinged and has said nothing since.
    is_awaited: bool,
}

impl Connection {
    pub(super) fn new(hub: Arc<Hub>, peer: Peer, socket: Socket) -> Self {
        let now = Instant::now();
        Self {
            heart: Heart { next: now + beat(&hub), is_awaited: false },
            hub,
            peer,
            socket,
            mode: Mode::Closed,
            identity: Identity::default(),
            auth_until: None,
            subscriptions: Vec::new(),
            turn: 0,
            taken: Taken::default(),
            waiting: None,
        }
    }

    /// Serves until one of the two goes.
    pub(super) async fn run(mut self, credential: Result<Option<String>, Refusal>) {
        let mut stop = self.hub.shutdown();
        let end = tokio::select! {
            biased;
            () = stop.wait() => End::Stopping,
            end = self.serve(credential) => end,
        };
        // Their streams end before the goodbye.
        self.subscriptions.clear();
        match end {
            End::Gone => {}
            End::Closed => self.socket.close(None).await,
            End::Stopping => self.socket.close(Some((GOING_AWAY, "the server is stopping"))).await,
            End::Unavailable => self.socket.close(Some((TRY_AGAIN, "try again later"))).await,
        }
    }

    async fn serve(&mut self, credential: Result<Option<String>, Refusal>) -> End {
        if let Err(end) = self.begin(credential).await {
            return end;
        }
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Finds out as whom it acts before the first message.
    async fn begin(&mut self, credential: Result<Option<String>, Refusal>) -> Result<(), End> {
        let given = match credential {
            Ok(given) => given,
            Err(_) => return self.fail(&Problem::handshake_failed()).await,
        };
        let is_given = given.is_some();
        match Identity::of(&self.hub, &self.peer, given).await {
            Ok(identity) => {
                self.identity = identity;
                self.mode = if is_given { Mode::Closed } else { Mode::Public };
                Ok(())
            }
            Err(Unknown::Unavailable) => Err(End::Unavailable),
            Err(Unknown::Refused) if is_given => self.fail(&Problem::handshake_failed()).await,
            Err(Unknown::Refused) => self.handshake().await,
        }
    }

    /// The first message must say who it is.
    async fn handshake(&mut self) -> Result<(), End> {
        let said = tokio::time::timeout(AUTH_TIME, self.text()).await;
        let secret = match said {
            Ok(text) => match request::read(&text?) {
                Ok(Request::Auth { uid, access_token: Some(secret) }) => Some((uid, secret)),
                Ok(_) | Err(_) => None,
            },
            Err(_) => None,
        };
        let Some((uid, secret)) = secret else {
            return self.fail(&Problem::handshake_failed()).await;
        };
        match Identity::of(&self.hub, &self.peer, Some(secret)).await {
            Ok(identity) => {
                self.identity = identity;
                self.send(message::authenticated(uid.as_ref())).await
            }
            Err(Unknown::Unavailable) => Err(End::Unavailable),
            Err(Unknown::Refused) => self.fail(&Problem::handshake_failed()).await,
        }
    }

    /// Says why, and closes.
    async fn fail(&mut self, problem: &Problem) -> Result<(), End> {
        self.socket.log_refusal();
        self.send(error::error(Area::Auth, problem, None)).await?;
        Err(End::Closed)
    }

    /// What the client says next.
    async fn text(&mut self) -> Result<String, End> {
        loop {
            if let Some(text) = self.waiting.take() {
                return Ok(text);
            }
            let received = self.socket.receive().await;
            self.take(received)?;
        }
    }

    fn take(&mut self, received: Option<Received>) -> Result<(), End> {
        match received {
            Some(Received::Text(text)) => self.waiting = Some(text),
            Some(Received::Pong(carries)) => self.taken.answered(&carries),
            None => return Err(End::Gone),
        }
        Ok(())
    }

    /// Whatever happens next.
    async fn step(&mut self) -> Result<(), End> {
        if let Some(text) = self.waiting.take() {
            return self.hear(&text).await;
        }
        let waits = self.taken.waits(Instant::now());
        let expires = self.identity.expires.filter(|_| self.auth_until.is_none());
        let times = expires.into_iter().chain(self.auth_until).chain([self.heart.next]);
        let time = times.min().expect("a heart beats");
        tokio::select! {
            received = self.socket.receive() => self.take(received),
            (at, said) = next(&mut self.subscriptions, self.turn), if waits.is_none() => {
                self.turn = at + 1;
                self.say(at, said).await
            }
            () = sleep_until(waits.unwrap_or(time)), if waits.is_some() => Ok(()),
            () = sleep_until(time) => self.pass().await,
        }
    }

    async fn hear(&mut self, text: &str) -> Result<(), End> {
        self.heart.is_awaited = false;
        match request::read(text) {
            Ok(Request::Auth { uid, access_token }) => self.authenticate(uid, access_token).await,
            Ok(Request::Subscribe(subscribe)) => self.subscribe(subscribe).await,
            Ok(Request::Unsubscribe(uid)) => {
                let all = uid.is_none();
                let wanted = uid.as_ref().map(Uid::text);
                self.subscriptions.retain(|subscribed| {
                    !all && subscribed.subscription.shape.uid.as_deref() != wanted
                });
                self.send(message::unsubscribed(uid.as_ref())).await
            }
            Ok(Request::Ping(uid)) => self.send(message::pong(uid.as_ref())).await,
            Ok(Request::Items(uid)) => {
                let why = "Items are read and written over SQL here.";
                let problem = Problem::new(error::METHOD_NOT_ALLOWED, why);
                self.send(error::error(Area::Items, &problem, uid.as_ref())).await
            }
            Ok(Request::Other) => Ok(()),
            Err(wrong) => {
                let area = if wrong.is_subscribe { Area::Subscribe } else { Area::Server };
                self.send(error::error(area, &wrong.problem, None)).await
            }
        }
    }

    /// Another credential, or the first one of a public connection.
    async fn authenticate(
        &mut self,
        uid: Option<Uid>,
        access_token: Option<String>,
    ) -> Result<(), End> {
        let found = match access_token {
            Some(secret) => Identity::of(&self.hub, &self.peer, Some(secret)).await,
            None => Err(Unknown::Refused),
        };
        match found {
            Ok(identity) => {
                self.identity = identity;
                self.auth_until = None;
                self.send(message::authenticated(uid.as_ref())).await?;
                self.resume().await
            }
            Err(Unknown::Unavailable) => Err(End::Unavailable),
            Err(Unknown::Refused) => {
                let problem = Problem::authentication_failed();
                self.send(error::error(Area::Auth, &problem, uid.as_ref())).await?;
                if self.mode == Mode::Public { Ok(()) } else { Err(End::Closed) }
            }
        }
    }

    async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let uid = subscribe.uid.clone();
        match self.subscribed(subscribe).await {
            Ok((subscribed, data, _purse)) => {
                let wanted = subscribed.subscription.shape.uid.clone();
                if wanted.is_some() {
                    self.subscriptions.retain(|other| other.subscription.shape.uid != wanted);
                }
                self.subscriptions.push(subscribed);
                self.send(message::init(data.as_deref(), wanted.as_deref())).await
            }
            Err(problem) => self.send(error::error(Area::Subscribe, &problem, uid.as_ref())).await,
        }
    }

    /// The subscription and the items that it begins with, and what counts those.
    async fn subscribed(
        &mut self,
        subscribe: Subscribe,
    ) -> Result<(Subscribed, Option<String>, Purse), Problem> {
        let uid = subscribe.uid.as_ref().map(Uid::text);
        let replaces = self
            .subscriptions
            .iter()
            .any(|other| uid.is_some() && other.subscription.shape.uid.as_deref() == uid);
        let most = MOST.min(self.hub.config().limits.max_streams_per_connection as usize);
        if self.subscriptions.len() >= most && !replaces {
            let message = format!("A connection has at most {most} subscriptions.");
            return Err(Problem::new(error::LIMIT_EXCEEDED, message));
        }
        let asked: Asked = ask::ask(subscribe)?;
        let secret = self.identity.secret.clone();
        let answered = self.hub.query(&self.peer, secret.clone(), asked.ask.clone()).await;
        let answered = answered.map_err(|refusal| problem(&refusal))?;
        let (answered, purse) = answered.map_err(|failure| asked.problem(&failure))?;
        let begun = asked.begun(answered.answer)?;
        let format = Format::of(asked.renderer());
        let access = Access { token: begun.token.clone(), secret: secret.clone() };
        let opening = self.hub.open(&self.peer, access, StartAt::Token, format.clone());
        let stream = opening.await.map_err(|refusal| problem(&refusal))?;
        let subscription = Subscription::new(asked.shape, begun.token, secret, stream);
        Ok((Subscribed { subscription, format }, begun.data, purse))
    }

    async fn say(&mut self, at: usize, said: Said) -> Result<(), End> {
        match said {
            Said::Message(text) => self.send(text).await,
            Said::End(problem) if problem.code == error::TOKEN_EXPIRED && self.had_secret(at) => {
                if self.subscriptions[at].subscription.secret == self.identity.secret {
                    self.expire().await
                } else {
                    self.resume().await
                }
            }
            Said::End(problem) => {
                let subscribed = self.subscriptions.remove(at);
                let uid = subscribed.subscription.shape.uid;
                self.send(error::ended(&problem, uid.as_deref())).await
            }
        }
    }

    fn had_secret(&self, at: usize) -> bool {
        self.subscriptions[at].subscription.secret.is_some()
    }

    /// Goes on with the subscriptions whose credential has ended, by the one there is now: both the role of
    /// that and the one that subscribed must be allowed.
    async fn resume(&mut self) -> Result<(), End> {
        let mut at = 0;
        while at < self.subscriptions.len() {
            let Subscribed { subscription, format } = &self.subscriptions[at];
            if subscription.stream.is_some() {
                at += 1;
                continue;
            }
            let secret = self.identity.secret.clone();
            let access = Access { token: subscription.token.clone(), secret: secret.clone() };
            let start = match &subscription.cursor {
                Some(cursor) => StartAt::Cursor(cursor.clone()),
                None => StartAt::Token,
            };
            let opening = self.hub.open(&self.peer, access, start, format.clone());
            match opening.await {
                Ok(stream) => {
                    let subscription = &mut self.subscriptions[at].subscription;
                    (subscription.stream, subscription.secret) = (Some(stream), secret);
                    at += 1;
                }
                Err(refusal) => {
                    let uid = self.subscriptions.remove(at).subscription.shape.uid;
                    self.send(error::ended(&problem(&refusal), uid.as_deref())).await?;
                }
            }
        }
        Ok(())
    }

    /// The credential is over: a new one may come, and the subscriptions go on by it.
    async fn expire(&mut self) -> Result<(), End> {
        if self.auth_until.is_some() {
            return Ok(());
        }
        self.auth_until = Some(Instant::now() + AUTH_TIME);
        self.send(error::error(Area::Auth, &Problem::token_expired(), None)).await
    }

    /// Something is due.
    async fn pass(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.auth_until.is_some_and(|until| until <= now) {
            let problem = Problem::authentication_timed_out();
            self.send(error::error(Area::Auth, &problem, None)).await?;
            if self.mode == Mode::Closed {
                return Err(End::Closed);
            }
            return self.be_nobody().await;
        }
        if self.auth_until.is_none() && self.identity.expires.is_some_and(|end| end <= now) {
            return self.expire().await;
        }
        if self.heart.next <= now {
            if std::mem::replace(&mut self.heart.is_awaited, true) {
                return Err(End::Closed);
            }
            self.heart.next = now + beat(&self.hub);
            return self.send(message::ping()).await;
        }
        Ok(())
    }

    /// A public connection goes on as it began. What the credential allowed has ended with it: a
    /// source without its credential would go on as the role that it was made by.
    async fn be_nobody(&mut self) -> Result<(), End> {
        self.auth_until = None;
        self.identity = Identity::default();
        let (over, others) =
            self.subscriptions.drain(..).partition(|s| s.subscription.secret.is_some());
        self.subscriptions = others;
        let over: Vec<Subscribed> = over;
        for subscribed in over {
            let uid = subscribed.subscription.shape.uid;
            self.send(error::ended(&Problem::token_expired(), uid.as_deref())).await?;
        }
        Ok(())
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        while let Some(until) = self.taken.waits(Instant::now()) {
            tokio::select! {
                // One text waits; the next ones do so in the socket.
                received = self.socket.receive(), if self.waiting.is_none() => self.take(received)?,
                () = sleep_until(until) => {}
            }
        }
        let ping = self.taken.ask(Instant::now());
        Ok(self.socket.send_asking(text, ping).await?)
    }
}

/// The next thing that a subscription has to say; each has its turn.
async fn next(subscriptions: &mut [Subscribed], turn: usize) -> (usize, Said) {
    if subscriptions.is_empty() {
        return pending().await;
    }
    let count = subscriptions.len();
    poll_fn(|context| {
        for at in (0..count).map(|n| (turn + n) % count) {
            if let Poll::Ready(said) = subscriptions[at].subscription.poll(context) {
                return Poll::Ready((at, said));
            }
        }
        Poll::Pending
    })
    .await
}

/// How often a client is asked whether it is there: 30 seconds unless `event_source.status_interval` says
/// otherwise.
fn beat(hub: &Hub) -> Duration {
    2 * Duration::from_millis(hub.config().status_interval_ms)
}

/// A refusal in Directus' words. A right that is not there is as good as a thing that is not.
fn problem(refusal: &Refusal) -> Problem {
    Problem::new(error::code(refusal.reason), said(refusal))
}
