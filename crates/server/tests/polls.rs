//! Feeds that are polled: which of their pages the worker reads, and which are made of the tail in memory.

mod support;

use event_source_door::message::{GrantId, RequestId, ToServer, ToWorker};
use event_source_model::event::{Reason, Refusal};
use event_source_model::position::Position;
use serde_json::{Value, json as value};
use support::client::{Client, json};
use support::worker::Worker;
use support::{GRANT, added, config, empty_tail, now, opened, page, tail_of, view};

fn path(at: i64) -> String {
    let cursor = view().cursor(&Position::after(at));
    format!("/v1/feed?token=est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA&cursor={cursor}")
}

async fn get(client: &mut Client, at: i64) -> Value {
    json(client.get(&path(at)).await).await
}

/// The worker reads a page of nothing up to the end of the log.
async fn reads_to_the_end(worker: &mut Worker, client: &mut Client, end: i64) {
    let ((), _) = tokio::join!(
        async {
            let (request, ..) = worker.hears_page().await;
            worker.pages(request, page(Vec::new(), end, false)).await;
        },
        get(client, 900)
    );
}

async fn hears_poll(worker: &mut Worker) -> (RequestId, Vec<GrantId>) {
    match worker.hears().await {
        ToWorker::Poll { request, grants } => (request, grants),
        other => panic!("a Poll was expected, not {other:?}"),
    }
}

/// A feed that was read to the end of the log, at 1000, twice.
async fn polled(expires: Option<i64>) -> (Worker, Client) {
    let mut worker = Worker::start(config()).await;
    worker.tails(empty_tail(900, 1000)).await;
    let mut client = Client::one(worker.address).await;
    reads_to_the_end(&mut worker, &mut client, 1000).await;
    reads_to_the_end(&mut worker, &mut client, 1000).await;
    let ToWorker::Open { request, first, before_token, .. } = worker.hears().await else {
        panic!("its source is followed");
    };
    assert!(first.is_none() && before_token, "a feed reads nothing ahead and may begin anywhere");
    let mut opened = opened(1000, 1000);
    opened.expires = expires;
    worker.opens(request, opened).await;
    (worker, client)
}

#[tokio::test]
async fn the_third_page_at_the_end_of_the_log_comes_from_memory_once_nothing_is_missing_there() {
    let (mut worker, mut client) = polled(None).await;
    for _ in 0..2 {
        let (nothing, ()) = tokio::join!(get(&mut client, 1000), async {
            let (request, grants) = hears_poll(&mut worker).await;
            assert_eq!(grants, [GRANT]);
            worker.says(&ToServer::Polled { request }).await;
        });
        let cursor = view().cursor(&Position::after(1000));
        assert_eq!(nothing, value!({"events": [], "cursor": cursor, "has_next": false}));
    }
    let (news, ()) = tokio::join!(get(&mut client, 1000), async {
        let (request, _) = hears_poll(&mut worker).await;
        let tail = ToServer::Tail(tail_of(1000, 1010, 1, "x"));
        worker.say_all(&[tail, ToServer::Polled { request }]).await;
    });
    assert_eq!(news["events"][0]["key"], 1);
    assert_eq!(news["cursor"], view().cursor(&Position::after(1010)));
}

#[tokio::test]
async fn whoever_lost_the_right_is_told_so_by_the_worker() {
    let (mut worker, mut client) = polled(None).await;
    let refusal = Refusal::new(Reason::InvalidToken, "the event source was revoked");
    let path = path(1000);
    let (response, ()) = tokio::join!(client.get(&path), async {
        let (request, _) = hears_poll(&mut worker).await;
        let lost = ToServer::Lost { grant: GRANT, refusal: refusal.clone() };
        let tail = ToServer::Tail(tail_of(1000, 1010, 1, "x"));
        worker.say_all(&[tail, lost, ToServer::Polled { request }]).await;
        let (request, ..) = worker.hears_page().await;
        worker.refuses(request, refusal).await;
    });
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn a_page_is_read_by_the_worker_when_memory_is_not_enough() {
    let (mut worker, mut client) = polled(None).await;
    // Before its source was followed.
    let (early, ()) = tokio::join!(get(&mut client, 950), async {
        let (request, ..) = worker.hears_page().await;
        worker.pages(request, page(vec![added(960, 1)], 1000, false)).await;
    });
    assert_eq!(early["events"][0]["key"], 1);
    // Something was redacted.
    let (forgotten, ()) = tokio::join!(get(&mut client, 1000), async {
        let (request, _) = hears_poll(&mut worker).await;
        worker.say_all(&[ToServer::Forget, ToServer::Polled { request }]).await;
        let (request, ..) = worker.hears_page().await;
        worker.pages(request, page(vec![added(1010, 2)], 1010, false)).await;
    });
    assert_eq!(forgotten["events"][0]["key"], 2);
}

#[tokio::test]
async fn a_page_is_read_by_the_worker_when_it_cannot_say_that_memory_is_enough() {
    let (mut worker, mut client) = polled(None).await;
    let (read, ()) = tokio::join!(get(&mut client, 1000), async {
        let (request, _) = hears_poll(&mut worker).await;
        worker.refuses(request, Refusal::new(Reason::Internal, "the log cannot be read")).await;
        let (request, ..) = worker.hears_page().await;
        worker.pages(request, page(vec![added(1010, 1)], 1010, false)).await;
    });
    assert_eq!(read["events"][0]["key"], 1);
}

#[tokio::test]
async fn what_has_expired_is_not_read_from_memory() {
    let (mut worker, mut client) = polled(Some(now() - 1)).await;
    let path = path(1000);
    let (response, ()) = tokio::join!(client.get(&path), async {
        let (request, ..) = worker.hears_page().await;
        worker.refuses(request, Refusal::new(Reason::Unauthorized, "it has expired")).await;
    });
    assert_eq!(response.status(), 401);
}
