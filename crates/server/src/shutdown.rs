//! The planned stop, as a type that is passed down.

use std::convert::Infallible;

use tokio::sync::{mpsc, watch};

/// Starts the stop, once.
#[derive(Debug, Default)]
pub(crate) struct Trigger(watch::Sender<bool>);

impl Trigger {
    pub(crate) fn pull(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_pulled(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) fn watch(&self) -> Shutdown {
        Shutdown(self.0.subscribe())
    }
}

/// Waits for the stop.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Returns when the stop has begun, also for callers that come later.
    pub async fn wait(&mut self) {
        // An error means that the trigger is gone, and with it everything that could go on.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Held by whatever the stop should wait for.
#[derive(Clone, Debug)]
pub(crate) struct Busy {
    /// Never sent on: that the last one is gone is the message.
    _held: mpsc::Sender<Infallible>,
}

/// Waits until nobody is busy.
#[derive(Debug)]
pub(crate) struct Idle(mpsc::Receiver<Infallible>);

/// The two ends.
pub(crate) fn busy() -> (Busy, Idle) {
    let (held, idle) = mpsc::channel(1);
    (Busy { _held: held }, Idle(idle))
}

impl Idle {
    /// Returns when the last [`Busy`] has been dropped.
    pub(crate) async fn wait(&mut self) {
        while self.0.recv().await.is_some() {}
    }
}
