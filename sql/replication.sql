-- Logical replication beside us. A FOR ALL TABLES publication names the extension's own tables as well. Where
-- the extension is installed on both sides nothing of them is taken over: each side has its own captures, keys,
-- secrets and log. A capture or a secret of the publisher may name a table or a role that is not even there.

-- API: private. Takes the extension's own tables out of subscriptions, before anything is copied or applied.
create function event_source.on_subscription() returns event_trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from pg_subscription_rel r
    using pg_class c
    where c.oid = r.srrelid and c.relnamespace = 'event_source'::regnamespace;
end
$$;
revoke all on function event_source.on_subscription() from public;
create event trigger event_source_subscription on ddl_command_end
    when tag in ('CREATE SUBSCRIPTION', 'ALTER SUBSCRIPTION')
    execute function event_source.on_subscription();
alter event trigger event_source_subscription enable always;
