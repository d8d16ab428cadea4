//! What a protocol is to the rest of the server, and to the other protocols.

mod support;
mod toy;

use std::fs;
use std::path::{Path, PathBuf};

use event_source_door::message::ToServer;
use event_source_model::event::{Reason, Refusal};
use event_source_server::routes::protocols;
use support::client::{Client, Line, Lines};
use support::worker::Worker;
use support::{SOURCE, config, empty_tail, opened, tail_of};

fn text(line: &str) -> Line {
    Line::Text(line.to_owned())
}

#[tokio::test]
async fn a_protocol_more_is_one_module_and_one_line() {
    let mut worker = Worker::start_with(config(), protocols().merge(toy::routes())).await;
    let mut client = Client::two(worker.address).await;
    worker.tails(empty_tail(900, 1000)).await;
    let (response, ()) = tokio::join!(client.get("/toy/est_AgAAAAEAAAAAAAAAAAAAAAAAAAAA"), async {
        let (request, _) = worker.hears_open().await;
        worker.opens(request, opened(1000, 900)).await;
    });
    let mut lines = Lines::of(response);
    assert_eq!(lines.next().await, text("here\n"));
    worker.tails(tail_of(1000, 1010, 1, "x")).await;
    assert_eq!(lines.next().await, text("add {\"id\":1,\"name\":\"x\"}\n"));
    let refusal = Refusal::new(Reason::SourceGone, "it is gone");
    worker.says(&ToServer::Ended { source: SOURCE, refusal }).await;
    assert_eq!(lines.next().await, text("over: it is gone\n"));
    assert_eq!(lines.next().await, Line::End);
}

/// The folders of a directory: its protocols.
fn folders(parent: &Path) -> Vec<String> {
    let entries = fs::read_dir(parent).expect("a directory").map(|entry| entry.expect("readable"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("readable"));
    let nested = entries.map(|entry| entry.path());
    nested.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn a_protocol_imports_nothing_of_another() {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let wire = server.join("../../wire/src");
    let protocols = folders(&wire);
    assert!(protocols.contains(&"native".to_owned()), "{protocols:?}");
    let mut looked_at = 0;
    for (protocol, parent) in protocols.iter().flat_map(|name| [(name, &server), (name, &wire)]) {
        for path in sources(&parent.join(protocol)) {
            let text = fs::read_to_string(&path).expect("UTF-8");
            looked_at += 1;
            for other in protocols.iter().filter(|other| *other != protocol) {
                for path_to in [format!("{other}::"), format!("::{other}")] {
                    assert!(!text.contains(&path_to), "{} has {path_to}", path.display());
                }
            }
        }
    }
    assert!(looked_at >= 2 * protocols.len(), "only {looked_at} files");
}
