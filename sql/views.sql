-- What people look at in psql.

-- API: public. Raw changes, oldest first: for eyes. Programs read event_feed.
create view event_source.changes as
select r.txn_ts, r.committed_at, r.ordinal, c.name as collection, r.op, r.key, r.old, r.new, r.xid
from event_source.raw_changes() as r
join event_source.capture as c on c.id = r.collection;
comment on view event_source.changes is 'raw changes in the log, of tables that the caller may select in full';

-- API: public. What is captured. With OFFSET it cannot be written to, as event_source.secrets.
create view event_source.collections as
select
    c.name,
    c.plural,
    c.relation,
    c.captured_at,
    event_source.capture_problem(c.relation) as problem
from event_source.capture as c
offset 0;
comment on view event_source.collections is 'captured tables; problem says what keeps one from being captured in full';

-- API: public. The clock, the log and the worker of this database.
create view event_source.status as
select
    s.closed,
    event_source.txn_time(s.closed) as closed_at,
    pg_catalog.clock_timestamp() - event_source.txn_time(s.closed) as closed_age,
    s.holder_pid,
    s.holder_xid,
    a.wait_event_type as holder_wait_event_type,
    a.wait_event as holder_wait_event,
    s.state,
    s.worker_pid,
    s.server_pid,
    s.servers_started,
    s.sandbox,
    s.streams,
    event_source.txn_time(s.published) as published_at,
    (
        select pg_catalog.sum(pg_catalog.pg_total_relation_size(t.oid))::bigint
        from pg_catalog.pg_class as t
        where t.relnamespace = 'event_source'::regnamespace
          and t.relkind = 'r'
          and t.relname ~ '^(stamp|change)_[0-9]+$'
    ) as log_bytes,
    s.oldest,
    event_source.txn_time(s.oldest) as oldest_at,
    s.segment,
    (
        select pg_catalog.array_agg(distinct l.pid order by l.pid)
        from pg_catalog.unnest(s.stuck) as n(segment)
        join pg_catalog.pg_class as t
            on t.relname in ('stamp_' || n.segment, 'change_' || n.segment)
           and t.relnamespace = 'event_source'::regnamespace
        join pg_catalog.pg_locks as l
            on l.locktype = 'relation'
           and l.relation = t.oid
           and l.database = (select d.oid from pg_catalog.pg_database as d
                             where d.datname = pg_catalog.current_database())
        where l.granted and l.pid is not null
    ) as log_held_by,
    p.open as prepared,
    p.unstamped as prepared_unstamped,
    s.loaded_first
from event_source.raw_status() as s
cross join event_source.raw_prepared() as p
left join pg_catalog.pg_stat_activity as a on a.pid = s.holder_pid;
comment on view event_source.status is 'the closed timestamp and who holds it, the log and who keeps it from becoming smaller, the worker';
comment on column event_source.status.state is 'what the worker does: serving while its server answers; null without a worker';
comment on column event_source.status.sandbox is 'what holds the server process: no_new_privs, rlimits, oom_score_adj, landlock, seccomp';

grant select on event_source.changes, event_source.collections, event_source.status to public;
