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

-- API: private. A table and all its partitions, and which of them hold rows. One that is between the two
-- steps of DETACH CONCURRENTLY is among them (pg_partition_tree leaves it out): it is still written to.
create function event_source.members(relation regclass)
    returns table (relid regclass, is_leaf boolean) stable
    language sql set search_path = pg_catalog, pg_temp as $$
    with recursive tree (relid) as (
        select members.relation::oid
        union all
        select c.oid
        from tree t
        join pg_inherits i on i.inhparent = t.relid
        join pg_class c on c.oid = i.inhrelid and c.relispartition
    )
    select c.oid::regclass, c.relkind <> 'p'
    from tree t
    join pg_class c on c.oid = t.relid
$$;
revoke all on function event_source.members(regclass) from public;

-- API: private. The columns of a table's primary key, by number and by name; null when there is none.
create function event_source.primary_key(relation regclass)
    returns table (numbers smallint[], names name[]) stable rows 1
    language sql set search_path = pg_catalog, pg_temp as $$
    select array_agg(a.attnum order by k.place), array_agg(a.attname order by k.place)
    from pg_index i
    cross join unnest(i.indkey::smallint[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = primary_key.relation and i.indisprimary and i.indisvalid and k.place <= i.indnkeyatts
$$;
revoke all on function event_source.primary_key(regclass) from public;

-- API: private. The triggers of ours on a table and its partitions.
create function event_source.triggers(relation regclass)
    returns table (relid regclass, name name, kind text, capture text, enabled "char", is_plain boolean,
        is_clone boolean) stable
    language sql set search_path = pg_catalog, pg_temp as $$
    select t.tgrelid::regclass, t.tgname,
        case
            when t.tgfoid = 'event_source.capture_row()'::regprocedure then 'row'
            when t.tgtype & 2 <> 0 then 'before truncate'
            else 'after truncate'
        end,
        -- the one argument, which ends with a zero byte
        encode(substring(t.tgargs for greatest(length(t.tgargs) - 1, 0)), 'escape'),
        t.tgenabled, t.tgqual is null and t.tgattr = '', t.tgparentid <> 0
    from pg_trigger t
    where t.tgrelid in (select m.relid from event_source.members(relation) m)
        and t.tgfoid in ('event_source.capture_row()'::regprocedure, 'event_source.capture_truncate()'::regprocedure)
$$;
revoke all on function event_source.triggers(regclass) from public;

-- API: private. The names of the TRUNCATE triggers of a capture. The one before sorts after the names of
-- most users' triggers: theirs may still change rows.
create function event_source.truncate_triggers(capture bigint)
    returns table (name text, timing text) immutable
    language sql set search_path = pg_catalog, pg_temp as $$
    values ('~event_source_truncate_' || capture, 'before'), ('event_source_truncated_' || capture, 'after')
$$;
revoke all on function event_source.truncate_triggers(bigint) from public;

-- API: private. Sees to it that a table that holds rows has its triggers, and that they always fire.
-- The row trigger is there already: PostgreSQL clones it to partitions.
create function event_source.watch(relation regclass, capture bigint) returns void volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ours record;
begin
    for ours in select w.* from event_source.truncate_triggers(watch.capture) w loop
        execute format('create trigger %I %s truncate on %s for each statement '
            'execute function event_source.capture_truncate(%L)', ours.name, ours.timing, relation, capture);
        execute format('alter table only %s enable always trigger %I', relation, ours.name);
    end loop;
    execute format('alter table only %s enable always trigger event_source_row', relation);
end
$$;
revoke all on function event_source.watch(regclass, bigint) from public;

-- API: private. Takes the TRUNCATE triggers from a table that is a partition no longer.
create function event_source.unwatch(relation regclass, capture bigint) returns void volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    ours record;
begin
    for ours in select w.* from event_source.truncate_triggers(unwatch.capture) w loop
        execute format('drop trigger %I on %s', ours.name, relation);
    end loop;
end
$$;
revoke all on function event_source.unwatch(regclass, bigint) from public;

-- API: private. The table of another owner whose collection has this name or plural, in whatever case. Queries write
-- `Product` for `product`: nobody may put a collection of his own in the place of another's.
create function event_source.called(relation regclass, word text) returns regclass stable
    language sql set search_path = pg_catalog, pg_temp as $$
    select c.relation
    from event_source.capture c
    join pg_class theirs on theirs.oid = c.relation
    join pg_class ours on ours.oid = called.relation
    where theirs.relowner <> ours.relowner
        and lower(called.word) in (lower(c.name), lower(c.plural))
    order by c.relation
    limit 1
$$;
revoke all on function event_source.called(regclass, text) from public;

-- API: private. Makes a capture, or finds it; true if something is captured anew.
create function event_source.register(relation regclass, name text, plural text) returns boolean volatile
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    known     event_source.capture;
    wanted    text := register.name;
    qualified text := (
        select format('%s.%s', n.nspname, c.relname)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.oid = register.relation);
    taken_by  regclass;
    capture   bigint;
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
        select case when event_source.called(register.relation, c.relname) is not null
                or exists (select from event_source.capture o where o.name = c.relname)
            then qualified else c.relname end
        into wanted
        from pg_class c
        where c.oid = register.relation;
    end if;
    if plural is null and known.id is null then
        plural := case when event_source.called(register.relation, wanted || 's') is null
            then wanted else qualified end || 's';
    end if;
    select c.relation into taken_by
    from event_source.capture c
    where c.name = wanted and c.relation <> register.relation;
    if taken_by is null and wanted is distinct from known.name then
        taken_by := event_source.called(register.relation, wanted);
    end if;
    if taken_by is not null then
        raise exception using errcode = 'duplicate_object',
            message = format('the name "%s" is that of the collection of table %s', wanted, taken_by),
            hint = 'choose another one: event_source.capture(..., name => ...)';
    end if;
    if plural is distinct from known.plural then
        taken_by := event_source.called(register.relation, plural);
    end if;
    if taken_by is not null then
        raise exception using errcode = 'duplicate_object',
            message = format('the plural "%s" is that of the collection of table %s', plural, taken_by),
            hint = 'choose another one: event_source.capture(..., plural => ...)';
    end if;

    if known.id is not null then
        update event_source.capture c
        set name = coalesce(wanted, c.name), plural = coalesce(register.plural, c.plural)
        where c.id = known.id;
        return false;
    end if;

    -- triggers may be left of a capture that this database does not know, after a restore
    perform event_source.unregister(register.relation);
    insert into event_source.capture (relation, name, plural, key_numbers, key_names)
    select register.relation, wanted, register.plural, k.numbers, k.names
    from event_source.primary_key(register.relation) k
    returning id into capture;
    insert into event_source.keyed
    select c.id from event_source.capture c where c.id = capture and c.key_names is not null;
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
        select m.relid, k.kind
        from event_source.members(capture_problem.relation) m
        cross join (values ('row', false), ('before truncate', true), ('after truncate', true)) as k (kind, is_of_leaf)
        where m.is_leaf or not k.is_of_leaf
    ), problem as (
        select 1 as rank, 'the table is not captured' as text
        where not exists (select from captured)
        union all
        select 2, format('%s lacks the trigger of event_source for: %s', w.relid, w.kind)
        from wanted w
        where not exists (
            select from event_source.triggers(capture_problem.relation) t, captured
            where t.relid = w.relid and t.kind = w.kind and t.capture = captured.id)
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
        where e.evtname in ('event_source_ddl', 'event_source_drop', 'event_source_rename', 'event_source_rewrite')
            and e.evtenabled <> 'A'
    )
    select p.text from problem p order by p.rank, p.text limit 1
$$;
