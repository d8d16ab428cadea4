//! `ALTER EXTENSION event_source UPDATE`: from every released version to what a fresh installation is.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::path::{Path, PathBuf};

use event_source_tests::Cluster;
use event_source_tests::follow::{mint, story};
use event_source_tests::members::{differences, members};
use event_source_tests::private::checkout;
use postgres::Client;

/// No release, and below each of them.
const PREDECESSOR: &str = "0.0.0";

fn install_script(cluster: &Cluster, version: &str) -> PathBuf {
    cluster.scripts().join(format!("event_source--{version}.sql"))
}

/// The version that a plain CREATE EXTENSION installs.
fn current(client: &mut Client) -> String {
    let query = "SELECT default_version FROM pg_available_extensions WHERE name = 'event_source'";
    client.query_one(query, &[]).unwrap().get(0)
}

/// A cluster whose scripts the test may replace.
fn own() -> Cluster {
    Cluster::options().fresh().own_installation().without_extension().start()
}

/// A file of the installation, which shares the old one with others.
fn write(path: &Path, text: &str) {
    if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

/// A database with a captured table in which the extension has that version.
fn at_version(cluster: &Cluster, database: &str, version: &str) -> Client {
    cluster.create_database(database);
    let mut client = cluster.connect_to(database);
    client
        .batch_execute(&format!(
            "CREATE EXTENSION event_source VERSION '{version}';
             CREATE TABLE t (id int PRIMARY KEY); SELECT event_source.capture('t')"
        ))
        .unwrap();
    client
}

/// The text of one statement of a script, by how it begins.
fn statement<'a>(script: &'a str, begins: &str) -> &'a str {
    let start = script.find(begins).expect("the script has the statement");
    let length = script[start..].find(";\n").expect("a statement ends") + 1;
    &script[start..start + length]
}

/// Scripts of a version that never was, and of the way from it to the current one.
fn make_predecessor(cluster: &Cluster, current: &str) {
    let script = std::fs::read_to_string(install_script(cluster, current)).unwrap();
    let old = "
        drop function event_source.describe(text);
        drop view event_source.secrets;
        alter table event_source.revocation add column reason text;
        alter table event_source.revocation alter column revoked_at drop not null;
        drop index event_source.change_3_place;
        comment on function event_source.release(regclass) is 'another comment';
        grant execute on function event_source.revoke(text) to public;
        alter event trigger event_source_drop enable;";
    write(&install_script(cluster, PREDECESSOR), &format!("{script}{old}"));
    let of = |begins| statement(&script, begins);
    let update = format!(
        "{}\n{}\n{}\n{}\n
        alter table event_source.revocation drop column reason;
        alter table event_source.revocation alter column revoked_at set not null;
        create index change_3_place on event_source.change_3 (xid, place);
        revoke execute on function event_source.revoke(text) from public;
        alter event trigger event_source_drop enable always;",
        of("create function event_source.describe("),
        of("create view event_source.secrets "),
        of("grant select on event_source.secrets "),
        of("comment on function event_source.release("),
    );
    let name = format!("event_source--{PREDECESSOR}--{current}.sql");
    write(&cluster.scripts().join(name), &update);
}

/// Updates, and sees that it changed nothing for those who were there before.
fn update(client: &mut Client) {
    let token = mint(client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    client.batch_execute("ALTER EXTENSION event_source UPDATE").unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(story(client, &token), ["add 1", "add 2"]);
    let later = mint(client, "event_source('t')");
    client.batch_execute("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(story(client, &later), ["add 3"]);
}

#[test]
fn an_updated_extension_is_that_of_a_fresh_installation() {
    let cluster = own();
    let version = current(&mut cluster.connect_to("postgres"));
    make_predecessor(&cluster, &version);
    let fresh = members(&mut at_version(&cluster, "fresh", &version));
    let mut client = at_version(&cluster, "old", PREDECESSOR);
    let old = members(&mut client);
    // Each kind of difference is seen, so that none of them can be forgotten.
    let seen = differences(&old, &fresh).join("\n");
    for difference in [
        "+ function event_source.describe(text), definition:",
        "+ view event_source.secrets, query:",
        "+ view event_source.secrets, initial rights:",
        "- table event_source.revocation, column reason:",
        "- table event_source.revocation, column revoked_at:",
        "+ table event_source.change_3, index:",
        "- function event_source.release(regclass), comment: another comment",
        "- function event_source.revoke(text), rights:",
        "- event trigger event_source_drop, definition:",
        "- the extension, version: 0.0.0",
    ] {
        assert!(seen.contains(difference), "{difference} is not in\n{seen}");
    }
    update(&mut client);
    assert_eq!(differences(&members(&mut client), &fresh), [""; 0]);
}

#[test]
fn every_released_version_updates_to_that_of_a_fresh_installation() {
    let folder = checkout().join("sql/released");
    let mut released: Vec<(String, PathBuf)> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?;
            let version = name.strip_prefix("event_source--")?.strip_suffix(".sql")?.to_owned();
            Some((version, path))
        })
        .collect();
    released.sort();
    let cluster = own();
    let now = current(&mut cluster.connect_to("postgres"));
    let fresh = members(&mut at_version(&cluster, "fresh", &now));
    for (n, (version, path)) in released.iter().enumerate() {
        // Also the current one, once it is released: without a new version its SQL stays what it is.
        write(&install_script(&cluster, version), &std::fs::read_to_string(path).unwrap());
        let mut client = at_version(&cluster, &format!("released_{n}"), version);
        if *version != now {
            update(&mut client);
        }
        assert_eq!(differences(&members(&mut client), &fresh), [""; 0], "from {version}");
    }
}
