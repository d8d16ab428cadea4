-- The extension's own tables are out of reach of every role but their owner and superusers.
--
-- pg_read_all_data and pg_write_all_data need no GRANT. A role that read the keys could sign tokens of any role; one
-- that wrote could add a key or a secret, take back a revocation, let a collection stand for another table, or put
-- events into the log. Row security without a policy shows them no row and takes none of theirs. It is not forced on
-- the owner, as whom the extension's own code writes. What reads and writes below the executor does not notice it.
do $$
declare
    own regclass;
begin
    for own in
        select c.oid from pg_catalog.pg_class c
        where c.relnamespace = 'event_source'::regnamespace and c.relkind in ('r', 'p')
    loop
        execute pg_catalog.format('alter table %s enable row level security', own);
    end loop;
end
$$;
