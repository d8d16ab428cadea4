-- Captured tables while their definition changes: the event triggers and what they call.
-- They run in whoever's session alters or drops something, as the extension's owner, and always: a restore
-- turns triggers off.

-- API: private. The captures that the DDL command at hand may have changed. In the middle of a restore
-- there are captures whose triggers are not there yet: these are left alone.
create function event_source.touched() returns table (id bigint, relid oid) volatile
    language sql set search_path = pg_catalog, pg_temp as $$
    select c.id, c.relation::oid
    from event_source.capture c
    join pg_class r on r.oid = c.relation
    where (
            r.relispartition
            or (r.relkind = 'r' and r.relhassubclass)
            or c.relation in (
                select coalesce(pg_partition_root(d.objid), d.objid)
                from pg_event_trigger_ddl_commands() d
                where d.classid = 'pg_class'::regclass))
        and exists (
            select from event_source.triggers(c.relation) t
            where t.relid = c.relation
                and t.kind = 'row'
                and t.capture = c.id::text)
$$;
revoke all on function event_source.touched() from public;

-- API: private. The tables that hold rows of a captured one and are not yet watched, when the DDL command at
-- hand made them or attached them. Others that are not watched are in the middle of a restore.
create function event_source.arrived(relation regclass, capture bigint, attached boolean) returns setof oid volatile
    language sql set search_path = pg_catalog, pg_temp as $$
    select m.relid::oid
    from event_source.members(relation) m
    where m.is_leaf
        and not exists (
            select from event_source.triggers(relation) t
            where t.relid = m.relid
                and t.kind = 'before truncate'
                and t.capture = arrived.capture::text)
        and (
            arrived.attached
            or m.relid in (
                select d.objid
                from pg_event_trigger_ddl_commands() d
                where d.classid = 'pg_class'::regclass and d.command_tag = 'CREATE TABLE'))
$$;
revoke all on function event_source.arrived(regclass, bigint, boolean) from public;

-- API: private. Switches on what was switched off; the tables on which it was.
create function event_source.keep_on(relation regclass, capture bigint) returns setof oid volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ours record;
begin
    for ours in
        select t.relid, t.name
        from event_source.triggers(keep_on.relation) t
        where t.capture = keep_on.capture::text and t.enabled <> 'A'
    loop
        execute format('alter table only %s enable always trigger %I', ours.relid, ours.name);
        return next ours.relid;
    end loop;
end
$$;
revoke all on function event_source.keep_on(regclass, bigint) from public;

-- API: private. As keep_on, of tables that a restore has given their triggers and not their capture yet.
-- Switched off and on around their rows, they would be left as triggers that do not always fire. Until the
-- capture is there they do nothing.
create function event_source.keep_restored_on() returns void volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ours record;
begin
    for ours in
        select t.tgrelid::regclass as relid, t.tgname as name
        from pg_event_trigger_ddl_commands() d
        join pg_trigger t on t.tgrelid = d.objid
        where d.classid = 'pg_class'::regclass
            and t.tgfoid in ('event_source.capture_row()'::regprocedure, 'event_source.capture_truncate()'::regprocedure)
            and t.tgenabled <> 'A'
            and not exists (
                select from event_source.capture c
                where c.relation = coalesce(pg_partition_root(d.objid), d.objid))
    loop
        execute format('alter table only %s enable always trigger %I', ours.relid, ours.name);
    end loop;
end
$$;
revoke all on function event_source.keep_restored_on() from public;

-- API: private. The tables that are watched and are partitions no longer.
create function event_source.departed(relation regclass, capture bigint) returns setof oid stable
    language sql set search_path = pg_catalog, pg_temp as $$
    select t.tgrelid
    from pg_trigger t
    where t.tgfoid = 'event_source.capture_truncate()'::regprocedure
        and t.tgname = '~event_source_truncate_' || departed.capture
        and t.tgrelid not in (select m.relid from event_source.members(relation) m)
$$;
revoke all on function event_source.departed(regclass, bigint) from public;

-- API: private. The captures whose table has another primary key than at the last look. In the middle of a
-- restore there are tables that do not have theirs yet: their triggers come later still, or, when it runs in
-- parallel, before the key, or while the key of a partitioned table waits for those of its partitions.
create function event_source.rekeyed() returns setof bigint volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    looked record;
begin
    insert into event_source.keyed
    select c.id
    from event_source.capture c
    where not exists (select from event_source.keyed s where s.capture = c.id)
        and exists (
            select from pg_index i
            where i.indrelid = c.relation and i.indisprimary and i.indisvalid)
    -- another session may see it at the same time
    on conflict do nothing;

    for looked in
        select c.id, k.numbers, k.names,
            k.numbers is distinct from c.key_numbers and k.names is distinct from c.key_names as is_other
        from event_source.capture c
        cross join lateral event_source.primary_key(c.relation) k
        where (k.numbers is distinct from c.key_numbers or k.names is distinct from c.key_names)
            and not exists (
                select from pg_index i
                where i.indrelid = c.relation and i.indisprimary and not i.indisvalid)
            and exists (
                select from event_source.triggers(c.relation) t
                where t.relid = c.relation and t.kind = 'row' and t.capture = c.id::text)
            and (
                k.names is not null
                or exists (select from event_source.keyed s where s.capture = c.id))
    loop
        update event_source.capture c set key_numbers = looked.numbers, key_names = looked.names where c.id = looked.id;
        if looked.is_other then
            return next looked.id;
        end if;
    end loop;
end
$$;
revoke all on function event_source.rekeyed() from public;

-- API: private. Notes a schema break; false if it is that of a command of this transaction just before.
create function event_source.add_break(capture bigint, before bigint) returns boolean volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update event_source.capture c
    set breaks = c.breaks || add_break.before
    where c.id = add_break.capture and not add_break.before = any (c.breaks);
    return found;
end
$$;
revoke all on function event_source.add_break(bigint, bigint) from public;

-- API: private. Puts a break into the log before a rewrite.
create function event_source.on_rewrite() returns event_trigger
    language c as 'MODULE_PATHNAME', 'event_source_on_rewrite';
create event trigger event_source_rewrite on table_rewrite execute function event_source.on_rewrite();
alter event trigger event_source_rewrite enable always;

-- API: private. Our triggers are found by what they call, but the order in which they fire is that of names.
create function event_source.on_rename() returns event_trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    ours record;
begin
    for ours in
        select t.relid, t.name
        from pg_event_trigger_ddl_commands() d
        join pg_trigger r on r.oid = d.objid
        cross join lateral event_source.triggers(r.tgrelid) t
        where d.classid = 'pg_trigger'::regclass and t.relid = r.tgrelid and t.name = r.tgname
            and t.name <> 'event_source_row'
            and t.name not in (select w.name from event_source.truncate_triggers(t.capture::bigint) w)
    loop
        raise exception using errcode = 'dependent_objects_still_exist',
            message = format('cannot rename a trigger of event_source on %s, a captured table', ours.relid),
            hint = format('use event_source.release(%L) to be rid of it', ours.relid);
    end loop;
end
$$;
revoke all on function event_source.on_rename() from public;
create event trigger event_source_rename on ddl_command_end when tag in ('ALTER TRIGGER')
    execute function event_source.on_rename();
alter event trigger event_source_rename enable always;

-- API: private. Keeps captures right while tables change. Always: a restore turns triggers off.
create function event_source.on_ddl() returns event_trigger
    language c as 'MODULE_PATHNAME', 'event_source_on_ddl';
create event trigger event_source_ddl on ddl_command_end
    when tag in ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE',
        -- what may take a column of a primary key along, or make one valid
        'ALTER INDEX', 'DROP TYPE', 'DROP DOMAIN', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION')
    execute function event_source.on_ddl();
alter event trigger event_source_ddl enable always;

-- API: private. A dropped table takes its capture along; a captured one keeps its triggers.
create function event_source.on_drop() returns event_trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone record;
begin
    delete from event_source.capture c
    using pg_event_trigger_dropped_objects() d
    where d.classid = 'pg_class'::regclass and d.objsubid = 0 and d.objid = c.relation;

    for gone in
        select c.relation, d.address_names[3] as trigger, r.oid::regclass as table
        from pg_event_trigger_dropped_objects() d
        join pg_namespace n on n.nspname = d.address_names[1]
        -- a table that goes with its triggers is not here any more
        join pg_class r on r.relnamespace = n.oid and r.relname = d.address_names[2]
        join event_source.capture c
            on d.address_names[3] = 'event_source_row'
            or d.address_names[3] in (select w.name from event_source.truncate_triggers(c.id) w)
        where d.object_type = 'trigger'
            -- one that was detached is none of ours any more
            and r.oid in (select m.relid from event_source.members(c.relation) m)
    loop
        raise exception using errcode = 'dependent_objects_still_exist',
            message = format('cannot drop trigger %I on %s, a captured table', gone.trigger, gone.table),
            hint = format('use event_source.release(%L)', gone.relation);
    end loop;
end
$$;
revoke all on function event_source.on_drop() from public;
create event trigger event_source_drop on sql_drop execute function event_source.on_drop();
alter event trigger event_source_drop enable always;
