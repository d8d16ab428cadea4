//! A stream as the body of a response. Dropped by hyper when the client goes away, which closes
//! the stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use crate::hub::{Broken, Next, Subscription};

#[derive(Debug)]
pub(crate) struct StreamBody(pub(crate) Subscription);

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_next(context).map(|next| match next {
            Next::Chunk(chunk) => Some(Ok(Frame::data(chunk.bytes))),
            Next::End(Ok(())) => None,
            Next::End(Err(broken)) => Some(Err(broken)),
        })
    }
}
