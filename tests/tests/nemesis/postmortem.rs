//! What the log and the table say about what followers found.

use std::fmt::Write as _;

use event_source_tests::rebuild::Disorder;
use event_source_tests::rebuild::quiet::Fault;
use postgres::Client;
use serde_json::Value;

use super::collections::COLLECTIONS;

/// Rows that are looked up, at most: a fault is rarely of one row only.
const FEW: usize = 3;

/// The faults, and for rows that differ what their transactions wrote into the log.
pub(crate) fn tell(client: &mut Client, faults: &[Fault]) -> String {
    let mut out = String::new();
    for Fault { collection, who, disorder } in faults {
        let found = format!("{disorder:#?}");
        let found = found.get(..6000).unwrap_or(&found);
        writeln!(out, "{collection} by {who}: {found}").expect("a String takes all");
        let rows = match disorder {
            Disorder::Rows { only_rebuilt, only_in_table } => {
                only_in_table.iter().chain(only_rebuilt)
            }
            _ => continue,
        };
        let source = COLLECTIONS.iter().find(|c| c.name == collection).expect("it is one of them");
        let relation = source.place(client).expect("it is captured");
        for row in rows.take(FEW) {
            look_up(client, &mut out, source.table, &relation, row);
        }
    }
    out
}

fn look_up(client: &mut Client, out: &mut String, collection: &str, relation: &str, row: &Value) {
    // All versions that are in the table, and whose they are.
    let versions = format!(
        "SELECT xmin::text, cmin::text, ctid::text, to_json(t)::text FROM {relation} t \
         WHERE to_jsonb(t) @> $1::text::jsonb LIMIT 10"
    );
    let written = "SELECT txn_ts::text, ordinal::text, xid::text, op, old::text, new::text \
         FROM event_source.changes WHERE collection = $1 AND \
         (new::jsonb @> $2::text::jsonb OR old::jsonb @> $2::text::jsonb OR xid::xid::text IN \
          (SELECT xmin::text FROM RELATION t WHERE to_jsonb(t) @> $2::text::jsonb)) \
         ORDER BY txn_ts DESC, ordinal DESC LIMIT 60";
    let row = row.to_string();
    let found = client
        .query(&versions, &[&row])
        .and_then(|mut found| {
            let written = written.replace("RELATION", relation);
            found.extend(client.query(&written, &[&collection, &row])?);
            Ok(found)
        })
        .expect("the table and the log can be read");
    writeln!(out, "about {row}:").expect("a String takes all");
    for line in found {
        let columns: Vec<&str> =
            (0..line.len()).map(|at| line.get::<_, Option<&str>>(at).unwrap_or("-")).collect();
        writeln!(out, "  {}", columns.join(" | ")).expect("a String takes all");
    }
}

/// What followers cannot see: that no two transactions have one place in the order.
pub(crate) fn one_writer_a_position(client: &mut Client) -> Result<(), String> {
    let shared = client
        .query(
            "SELECT txn_ts FROM event_source.changes GROUP BY txn_ts HAVING count(DISTINCT xid) > 1",
            &[],
        )
        .expect("the log can be read");
    match shared.first() {
        None => Ok(()),
        Some(row) => Err(format!("two transactions are at {}", row.get::<_, i64>(0))),
    }
}
