-- Capturing tables: the functions, the triggers and what keeps them in place.
-- What runs with the caller's rights is `capture` and `release`, which check that the caller owns
-- the table; everything here that changes something is called by them, as the extension's owner.

-- API: private. The triggers of a captured table; the argument is the id of the capture.
-- Executable by everyone, since PostgreSQL checks it when the owner of a table adds a partition. They
-- do nothing unless the table is captured under that very id.
create function event_source.capture_row() returns trigger
    language c as 'MODULE_PATHNAME', 'event_source_capture_row';

create function event_source.capture_truncate() returns trigger
    language c as 'MODULE_PATHNAME', 'event_source_capture_truncate';

-- API: public. Captures a table, once; its owner may.
create function event_source.capture(relation regclass, name text default null, plural text default null)
    returns void volatile parallel unsafe called on null input
    language c as 'MODULE_PATHNAME', 'capture_wrapper'
    set search_path = pg_catalog, pg_temp;
comment on function event_source.capture(regclass, text, text) is
    'from now on changes of the table are events; idempotent';

-- API: public. Ends a capture: its tokens end with an error. The owner of the table may.
create function event_source.release(relation regclass)
    returns void volatile parallel unsafe strict
    language c as 'MODULE_PATHNAME', 'release_wrapper'
    set search_path = pg_catalog, pg_temp;
comment on function event_source.release(regclass) is
    'changes of the table are events no longer; idempotent';

-- API: private. A table and all its partitions, and which of them hold rows.
create function event_source.members(relation regclass)
    returns table (relid regclass, is_leaf boolean) stable
    language sql set search_path = pg_catalog, pg_temp as $$
    select c.oid::regclass, c.relkind <> 'p'
    from pg_class c
    where c.oid = relation
        or c.oid in (select t.relid from pg_partition_tree(relation) t)
$$;
revoke all on function event_source.members(regclass) from public;

-- API: private. The triggers of ours on a table and its partitions.
create function event_source.triggers(relation regclass)
    returns table (relid regclass, name name, function regproc, capture text, enabled "char", is_plain boolean,
        is_clone boolean) stable
    language sql set search_path = pg_catalog, pg_temp as $$
    select t.tgrelid::regclass, t.tgname, t.tgfoid::regproc,
        -- the one argument, which ends with a zero byte
        encode(substring(t.tgargs for greatest(length(t.tgargs) - 1, 0)), 'escape'),
        t.tgenabled, t.tgqual is null and t.tgattr = '', t.tgparentid <> 0
    from pg_trigger t
    where t.tgrelid in (select m.relid from event_source.members(relation) m)
        and t.tgfoid in ('event_source.capture_row()'::regprocedure, 'event_source.capture_truncate()'::regprocedure)
$$;
revoke all on function event_source.triggers(regclass) from public;

-- API: private. Sees to it that a table that holds rows has its triggers, and that they always fire.
-- The row trigger is there already: PostgreSQL clones it to partitions.
create function event_source.watch(relation regclass, capture bigint) returns void volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    -- sorts after the names of users' triggers: theirs may still change rows
    truncate_trigger text := '~event_source_truncate_' || capture;
begin
    execute format('create trigger %I before truncate on %s for each statement '
        'execute function event_source.capture_truncate(%L)', truncate_trigger, relation, capture);
    execute format('alter table only %s enable always trigger %I', relation, truncate_trigger);
    execute format('alter table only %s enable always trigger event_source_row', relation);
end
$$;
revoke all on function event_source.watch(regclass, bigint) from public;

-- API: private. Takes the TRUNCATE trigger from a table that is a partition no longer.
create function event_source.unwatch(relation regclass, capture bigint) returns void volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('drop trigger %I on %s', '~event_source_truncate_' || capture, relation);
end
$$;
revoke all on function event_source.unwatch(regclass, bigint) from public;

-- API: private. Makes a capture, or finds it; true if something is captured anew.
create function event_source.register(relation regclass, name text, plural text) returns boolean volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    known    event_source.capture;
    wanted   text := register.name;
    taken_by regclass;
    capture  bigint;
begin
    if wanted = '' or register.plural = '' then
        raise exception using errcode = 'invalid_parameter_value', message = 'a collection''s name must not be empty';
    end if;
    -- names are given one after the other
    lock table event_source.capture in share row exclusive mode;
    select * into known from event_source.capture c where c.relation = register.relation;
    -- a table that captured nothing for a while is captured anew: no token bridges the gap
    if known.id is not null and event_source.capture_problem(register.relation) is not null then
        perform event_source.unregister(register.relation);
        wanted := coalesce(wanted, known.name);
        plural := coalesce(plural, known.plural);
        known := null;
    end if;

    if wanted is null and known.id is null then
        select case when exists (select from event_source.capture o where o.name = c.relname)
            then format('%s.%s', n.nspname, c.relname) else c.relname end
        into wanted
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = register.relation;
    end if;
    select c.relation into taken_by
    from event_source.capture c
    where c.name = wanted and c.relation <> register.relation;
    if found then
        raise exception using errcode = 'duplicate_object',
            message = format('the name "%s" is that of the collection of table %s', wanted, taken_by),
            hint = 'choose another one: event_source.capture(..., name => ...)';
    end if;

    if known.id is not null then
        update event_source.capture c
        set name = coalesce(wanted, c.name), plural = coalesce(register.plural, c.plural)
        where c.id = known.id;
        return false;
    end if;

    -- triggers may be left of a capture that this database does not know, after a restore
    perform event_source.unregister(register.relation);
    insert into event_source.capture (relation, name, plural)
    values (register.relation, wanted, coalesce(register.plural, wanted || 's'))
    returning id into capture;
    execute format('create trigger event_source_row after insert or update or delete on %s for each row '
        'execute function event_source.capture_row(%L)', register.relation, capture);
    perform event_source.watch(m.relid, capture) from event_source.members(register.relation) m where m.is_leaf;
    for taken_by in select m.relid from event_source.members(register.relation) m where not m.is_leaf loop
        execute format('alter table only %s enable always trigger event_source_row', taken_by);
    end loop;
    return true;
end
$$;
revoke all on function event_source.register(regclass, text, text) from public;

-- API: private. Ends a capture; false if there was none.
create function event_source.unregister(relation regclass) returns boolean volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ours    record;
    existed boolean;
begin
    delete from event_source.capture c where c.relation = unregister.relation;
    existed := found;
    for ours in
        select t.relid, t.name from event_source.triggers(unregister.relation) t where not t.is_clone
    loop
        execute format('drop trigger %I on %s', ours.name, ours.relid);
    end loop;
    return existed;
end
$$;
revoke all on function event_source.unregister(regclass) from public;

-- API: private. Why changes of a captured table may be missed; null when nothing is wrong.
create function event_source.capture_problem(relation regclass) returns text stable
    language sql security definer set search_path = pg_catalog, pg_temp as $$
    with captured as (
        select c.id::text as id from event_source.capture c where c.relation = capture_problem.relation
    ), wanted as (
        select m.relid, f.function
        from event_source.members(capture_problem.relation) m
        cross join (values ('event_source.capture_row'::regproc, false),
            ('event_source.capture_truncate'::regproc, true)) as f (function, is_of_leaf)
        where m.is_leaf or not f.is_of_leaf
    ), problem as (
        select 1 as rank, 'the table is not captured' as text
        where not exists (select from captured)
        union all
        select 2, format('%s lacks the trigger that calls %s', w.relid, w.function)
        from wanted w
        where not exists (
            select from event_source.triggers(capture_problem.relation) t, captured
            where t.relid = w.relid and t.function = w.function and t.capture = captured.id)
        union all
        select 3, format('trigger %I on %s %s', t.name, t.relid, case
            when t.enabled = 'D' then 'is disabled'
            when t.enabled <> 'A' then 'does not always fire'
            else 'does not fire for every change' end)
        from event_source.triggers(capture_problem.relation) t
        where t.enabled <> 'A' or not t.is_plain
        union all
        select 4, format('event trigger %I does not always fire', e.evtname)
        from pg_event_trigger e
        where e.evtname in ('event_source_ddl', 'event_source_drop') and e.evtenabled <> 'A'
    )
    select p.text from problem p order by p.rank, p.text limit 1
$$;

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
                and t.function = 'event_source.capture_row'::regproc
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
                and t.function = 'event_source.capture_truncate'::regproc
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

-- API: private. Keeps captures right while tables change. Always: a restore turns triggers off.
create function event_source.on_ddl() returns event_trigger
    language c as 'MODULE_PATHNAME', 'event_source_on_ddl';
create event trigger event_source_ddl on ddl_command_end
    when tag in ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE SCHEMA', 'ALTER TABLE', 'ALTER FOREIGN TABLE')
    execute function event_source.on_ddl();
alter event trigger event_source_ddl enable always;

-- API: private. A dropped table takes its capture along; a captured one keeps its parts.
create function event_source.on_drop() returns event_trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone record;
begin
    delete from event_source.capture c
    using pg_event_trigger_dropped_objects() d
    where d.classid = 'pg_class'::regclass and d.objsubid = 0 and d.objid = c.relation;

    for gone in
        select c.relation, d.address_names[3] as trigger, r.oid::regclass as table,
            format('%I.%I', d.address_names[1], d.address_names[2]) as table_name
        from pg_event_trigger_dropped_objects() d
        left join pg_namespace n on n.nspname = d.address_names[1]
        left join pg_class r on r.relnamespace = n.oid and r.relname = d.address_names[2]
        join event_source.capture c
            on d.address_names[3] = '~event_source_truncate_' || c.id
            or (d.address_names[3] = 'event_source_row' and r.oid = c.relation)
        where d.object_type = 'trigger'
            -- one that was detached is none of ours any more
            and (r.oid is null or r.oid = c.relation or pg_partition_root(r.oid) = c.relation)
    loop
        if gone.table is null then
            raise exception using errcode = 'dependent_objects_still_exist',
                message = format('cannot drop %s, a partition of captured table %s', gone.table_name, gone.relation),
                detail = 'The rows would go without an event.',
                hint = format('detach it first: ALTER TABLE %s DETACH PARTITION %s', gone.relation, gone.table_name);
        end if;
        raise exception using errcode = 'dependent_objects_still_exist',
            message = format('cannot drop trigger %I on %s, a captured table', gone.trigger, gone.table),
            hint = format('use event_source.release(%L)', gone.relation);
    end loop;
end
$$;
revoke all on function event_source.on_drop() from public;
create event trigger event_source_drop on sql_drop execute function event_source.on_drop();
alter event trigger event_source_drop enable always;
