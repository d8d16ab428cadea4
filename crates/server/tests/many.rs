//! Many native streams on one connection of HTTP/2.

mod support;

use event_source_door::message::Config;
use support::client::{Client, Lines};
use support::socket::{Socket, Two};
use support::worker::Worker;
use support::{config, empty_tail, opened, tail_of};

const PATH: &str = "/v1/stream?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA";
const MANY: usize = 500;

async fn many() -> Worker {
    let mut worker = Worker::start(Config { max_streams: 600, ..config() }).await;
    worker.tails(empty_tail(900, 1000)).await;
    worker
}

#[tokio::test]
async fn five_hundred_streams_on_one_connection_are_all_served() {
    let mut worker = many().await;
    // In a smaller window hyper's client takes so many small frames that wait for an attack.
    let mut client = Client::two_with(worker.address, 1 << 20).await;
    let mut streams = Vec::new();
    for _ in 0..MANY {
        let (response, ()) = tokio::join!(client.get(PATH), async {
            let (request, _) = worker.hears_open().await;
            worker.opens(request, opened(1000, 900)).await;
        });
        let mut lines = Lines::of(response);
        assert_eq!(lines.event().await["type"], "status");
        streams.push(lines);
    }
    worker.tails(tail_of(1000, 1010, 7, "x")).await;
    for (at, lines) in streams.iter_mut().enumerate() {
        assert_eq!(lines.keys(1).await, [7], "stream {at}");
    }
}

#[tokio::test]
async fn five_hundred_sockets_on_one_connection_are_all_served() {
    let mut worker = many().await;
    let mut two = Two::connect(worker.address).await;
    let mut sockets = Vec::new();
    for _ in 0..MANY {
        let (response, ()) = tokio::join!(two.ask(PATH), async {
            let (request, _) = worker.hears_open().await;
            worker.opens(request, opened(1000, 900)).await;
        });
        sockets.push(Socket::of(response).await);
    }
    worker.tails(tail_of(1000, 1010, 7, "x")).await;
    for (at, socket) in sockets.iter_mut().enumerate() {
        assert_eq!(socket.event().await["type"], "status", "socket {at}");
        assert_eq!(socket.event().await["key"], 7, "socket {at}");
    }
}
