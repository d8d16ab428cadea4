//! The example of the README, pasted.
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use event_source_tests::{Cluster, private};

#[test]
fn the_example_works_when_pasted() {
    let readme = std::fs::read_to_string(private::checkout().join("README.md")).unwrap();
    let example = readme.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    // As a newcomer's server is, which has no settings but those that the README names.
    let cluster = Cluster::options().conf("event_source.superuser_tokens", "off").start();
    cluster.connect().batch_execute("DROP EXTENSION event_source").unwrap();
    let out = cluster.psql(example);
    // `capture` returns nothing, which psql shows as an empty line.
    let lines: Vec<&str> = out.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines[0], r#"add|1|{"id":1,"name":"limes","price":0.40}"#);
    assert!(lines[1].starts_with("status|"), "{out}");
    assert_eq!(lines.len(), 2);
}
