-- Reading events in SQL, and looking at the log in psql.

-- API: public. A page of events as rows; the last row is always a status with the page's cursor.
create function event_feed(
    token text, cursor text default null, start_ts timestamptz default null,
    page_size int default 100, include text[] default '{}'
)
returns table (type text, txn_ts bigint, cursor text, key json, data json, prev json, diff json)
language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_feed_wrapper';

-- API: public. The same page as HTTP sends it, byte for byte.
create function event_page(
    token text, cursor text default null, start_ts timestamptz default null,
    page_size int default 100, include text[] default '{}'
)
returns json
language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_page_wrapper';

-- API: public. A time as a position in the one order, and back.
create function event_source.txn_ts(at timestamptz) returns bigint
language sql stable strict parallel safe
set search_path = pg_catalog, pg_temp
return (extract(epoch from at) * 1000000)::bigint;

create function event_source.txn_time(txn_ts bigint) returns timestamptz
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
return timestamptz 'epoch' + txn_ts * interval '1 microsecond';

-- API: private. The raw changes of the log, oldest first.
create function event_source.raw_changes(
    out txn_ts bigint, out committed_at timestamptz, out ordinal bigint, out collection bigint,
    out op text, out key text, out old json, out new json, out xid xid8
)
returns setof record
language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'raw_changes_wrapper';


-- API: private. The clock, who holds it, and the worker of this database.
create function event_source.raw_status(
    out closed bigint, out last bigint, out holder_pid int, out holder_xid xid,
    out worker_pid int, out server_pid int, out servers_started bigint, out published bigint, out streams int,
    out loaded_first boolean, out segment int, out oldest bigint, out stuck int[],
    out state text, out sandbox text[]
)
-- One row: taken for a thousand, the view on it would be worth compiling to the planner, for seconds.
returns setof record rows 1
language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'raw_status_wrapper';
