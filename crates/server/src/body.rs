//! A stream as the body of a response. Dropped by hyper when the client goes away, which closes
//! the stream.
//!
//! Where a protocol paces its streams, what is committed shortly after a frame left waits and leaves in one
//! frame. The first event behind a pause leaves at once, and so does a frame that is full.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use crate::faults::{self, Point};
use crate::hub::{self, Broken, Next, Subscription};

#[derive(Debug)]
pub struct StreamBody {
    subscription: Subscription,
    pace: Pace,
}

/// What happens behind a frame with events.
#[derive(Debug)]
enum Pace {
    None,
    /// hyper gets to write it before it is given another.
    Flush {
        is_due: bool,
    },
    Rest {
        time: Duration,
        until: Pin<Box<Sleep>>,
        is_over: bool,
    },
}

impl StreamBody {
    pub fn new(subscription: Subscription) -> Self {
        let pace = match subscription.pace() {
            hub::Pace::None => Pace::None,
            hub::Pace::Flush => Pace::Flush { is_due: false },
            hub::Pace::Rest(time) => {
                Pace::Rest { time, until: Box::pin(sleep(Duration::ZERO)), is_over: true }
            }
        };
        Self { subscription, pace }
    }
}

impl Pace {
    /// A frame with events left.
    fn begin(&mut self) {
        match self {
            Self::None => {}
            Self::Flush { is_due } => *is_due = true,
            Self::Rest { time, until, is_over } => {
                until.as_mut().reset(Instant::now() + *time);
                *is_over = false;
            }
        }
    }

    /// Whether what is not a whole frame must wait; the task is woken when that is over.
    fn is_resting(&mut self, context: &mut Context<'_>) -> bool {
        let Self::Rest { until, is_over, .. } = self else { return false };
        *is_over = *is_over || until.as_mut().poll(context).is_ready();
        !*is_over
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        faults::pass(Point::Body);
        if let Pace::Flush { is_due } = &mut self.pace
            && std::mem::take(is_due)
        {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let is_resting = self.pace.is_resting(context);
        self.subscription.poll_piece(context, is_resting).map(|next| match next {
            Next::Chunk(chunk) => {
                if chunk.events > 0 {
                    self.pace.begin();
                }
                Some(Ok(Frame::data(chunk.bytes)))
            }
            Next::End(Ok(())) => None,
            Next::End(Err(broken)) => Some(Err(broken)),
        })
    }
}
