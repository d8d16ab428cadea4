//! The table as events rebuild it; every event has to fit what was there before it.

use std::collections::BTreeMap;

use event_source_tests::consume::{Event, Kind};
use event_source_tests::follow::explain;
use postgres::Client;
use serde_json::Value;

pub(crate) type Rows = BTreeMap<i64, Value>;

/// Applies events to rows.
pub(crate) fn apply(mut rows: Rows, events: &[Event]) -> Result<Rows, String> {
    let mut last = 0;
    for event in events {
        let txn_ts = event.txn_ts.unwrap_or(0);
        if txn_ts < last {
            return Err(format!("behind an event of {last}: {event:?}"));
        }
        last = txn_ts;
        let key = event.key.as_ref().and_then(Value::as_i64).ok_or("an event without key")?;
        let before = match (event.kind, &event.data) {
            (Kind::Remove, _) => rows.remove(&key),
            (_, Some(data)) => rows.insert(key, data.clone()),
            (_, None) => return Err(format!("no image: {event:?}")),
        };
        if (event.kind == Kind::Add) != before.is_none() {
            return Err(format!("repeated or missed: {event:?}"));
        }
        if before != event.prev {
            let its = events.iter().filter(|other| other.key == event.key);
            let told: Vec<_> = its.map(|e| (e.txn_ts, e.kind, &e.prev, &e.data)).collect();
            return Err(format!(
                "rebuilt is {before:?} at {txn_ts}, of that row was told {told:?}"
            ));
        }
    }
    Ok(rows)
}

/// Mints a token of `t` and takes its rows, in one statement.
pub(crate) fn rows_and_token(client: &mut Client) -> Result<(Rows, String), postgres::Error> {
    let found = client.query(
        "SELECT s.token, t.id, to_json(t)::text
         FROM event_source('t') AS s(token) LEFT JOIN t ON true",
        &[],
    )?;
    let token = found[0].get(0);
    let rows = found.iter().filter_map(|row| {
        let id: i32 = row.get::<_, Option<i32>>(1)?;
        let image: String = row.get(2);
        Some((i64::from(id), serde_json::from_str(&image).expect("to_json gives JSON")))
    });
    Ok((rows.collect(), token))
}

/// The rows of `t`.
pub(crate) fn table(client: &mut Client) -> Rows {
    match rows_and_token(client) {
        Ok((rows, _)) => rows,
        Err(error) => panic!("the table cannot be read: {}", explain(&error)),
    }
}
