//! After a panic while a message of the worker was handled: the request that it answers fails, and nobody misses anything.
//!
//! Protected by the hub's lock.

use event_source_door::message::{RequestId, ToServer};
use event_source_model::event::{Reason, Refusal};

use super::state::{Answer, State};

/// What a message is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    Request(RequestId),
    /// What was committed.
    Log,
    /// Rights that may be lost.
    Rights,
}

impl About {
    pub(super) fn of(message: &ToServer) -> Self {
        match message {
            ToServer::Opened { request, .. }
            | ToServer::Refused { request, .. }
            | ToServer::Batch { request, .. }
            | ToServer::Page { request, .. }
            | ToServer::Answered { request, .. }
            | ToServer::Failed { request, .. }
            | ToServer::Polled { request } => Self::Request(*request),
            ToServer::Ended { .. } | ToServer::Lost { .. } => Self::Rights,
            ToServer::Tail(_)
            | ToServer::Forget
            | ToServer::Welcome { .. }
            | ToServer::Config(_)
            | ToServer::Stop
            | ToServer::Ping => Self::Log,
        }
    }
}

impl State {
    /// Nothing is known of what the message has changed already.
    pub(super) fn recover(&mut self, about: About) -> Answer {
        let answer = match about {
            About::Request(request) => self.refused(request, fault()),
            // What memory lacks now is read from the log.
            About::Log => {
                self.leave_gap();
                self.memory.forget();
                Answer::None
            }
            // Whose they were is not known: all say again who they are.
            About::Rights => {
                self.stop(&fault());
                Answer::None
            }
        };
        self.go_on();
        answer
    }
}

/// What a panic is told as.
pub(super) fn fault() -> Refusal {
    Refusal::new(Reason::Internal, "a fault of the server")
}
