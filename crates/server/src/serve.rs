//! The server's life: everything is built, then it runs until the door closes or a stop is asked.

use std::net::TcpListener as StdListener;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use event_source_door::message::Config;
use tokio::net::TcpListener;

use crate::accept::Acceptor;
use crate::door::{Door, DoorError};
use crate::hub::Hub;
use crate::{log, routes, shutdown};

/// How long clients are given to read the goodbye: `pg_ctl stop` waits for it.
const GOODBYE: Duration = Duration::from_millis(400);
const SHORTEST_TICK: u64 = 20;
const LONGEST_TICK: u64 = 500;

/// Serves until the worker asks for a stop.
///
/// # Errors
/// When the door closed without one.
pub async fn serve(
    door: Door,
    config: Config,
    listeners: Vec<StdListener>,
    protocols: Router<Arc<Hub>>,
) -> Result<(), DoorError> {
    let hub = Hub::new(config);
    let (busy, mut idle) = shutdown::busy();
    let acceptor =
        Acceptor::new(Arc::clone(&hub), routes::router(Arc::clone(&hub), protocols), busy);
    for listener in listeners {
        let listener = TcpListener::from_std(listener)?;
        tokio::spawn(acceptor.clone().run(listener));
    }
    drop(acceptor);
    let ticking = tokio::spawn(tick(Arc::clone(&hub)));
    let mut stop = hub.shutdown();
    // The door stays open until the goodbye is over: the worker takes its end for the process's.
    // A task of its own: this one is polled on the main thread, which the thread that hears of a message would
    // have to wake, to be woken itself for each stream.
    let mut door = tokio::spawn(door.run(Arc::clone(&hub)));
    let ended = tokio::select! {
        ended = &mut door => Err(ended.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))),
        () = stop.wait() => {
            // Whoever has not read to the end by then resumes by cursor.
            let _ = tokio::time::timeout(GOODBYE, idle.wait()).await;
            Ok(())
        }
    };
    ticking.abort();
    ended
}

async fn tick(hub: Arc<Hub>) {
    loop {
        let every = hub.config().status_interval_ms / 4;
        let every = every.clamp(SHORTEST_TICK, LONGEST_TICK);
        tokio::time::sleep(Duration::from_millis(every)).await;
        hub.tick();
        log::left_out();
    }
}
