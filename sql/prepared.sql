-- Two-phase commit: what was prepared and has no stamp yet.

-- API: private. One row for each prepared transaction that captured something, written by PREPARE
-- TRANSACTION itself: it is visible exactly when COMMIT PREPARED makes the transaction visible, and
-- deleted by the transaction that writes its stamp. Without an index: it is short, and looked at whole.
-- Rows are inserted below the executor; those of resolved transactions are left to autovacuum.
create table event_source.prepared (
    xid         xid8 not null,
    -- a reading of the clock at PREPARE: of two prepared transactions the later one may depend on the
    -- earlier, never the other way round
    prepared_at bigint not null,
    -- the segment that holds the change rows, and will hold the stamp
    segment     smallint not null check (segment between 0 and 7),
    -- the captures whose rows changed
    collections bigint[] not null,
    -- how many changes, not net
    changes     bigint not null check (changes >= 0),
    -- as in the stamp
    by_key      boolean not null
);
revoke all on event_source.prepared from public;

-- API: private. How many prepared transactions that captured something are open, and how many of them
-- are committed and wait for their stamp.
create function event_source.raw_prepared(out open int, out unstamped int)
returns setof record rows 1
language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'raw_prepared_wrapper';
