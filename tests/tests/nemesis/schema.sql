-- The tables that the nemesis fights over. Each is a collection of its own.

-- What happens to rows: the user's triggers below write rows of the same table and the same statement.
create table item (
    id int primary key,
    v int not null,
    note text,
    -- out of line: unchanged values have to be in every image all the same
    body text,
    doc jsonb not null default '{}',
    tags int[] not null default '{}',
    price numeric not null default 1.50,
    -- the transaction that wrote this version
    tx text
);
alter table item alter body set storage external;
alter table item set (toast_tuple_target = 256);
create index item_by_note on item (note);

-- Without a key: rows are a bag.
create table bag (v int not null, note text);
create index bag_by_v on bag (v);

-- Rows move between partitions, partitions come and go.
create table part (id int primary key, v int not null, note text) partition by range (id);
create table part_low partition of part for values from (minvalue) to (300);
create table part_mid partition of part for values from (300) to (600);
create table part_high partition of part for values from (600) to (1000);

-- As many columns as a table can have.
do $$
begin
    execute 'create table wide (id int primary key, '
        || (select string_agg(format('c%s int', n), ', ') from generate_series(1, 1599) n) || ')';
end
$$;

-- Foreign keys that write.
create table parent (id int primary key, v int not null, tx text);
create table child (
    id int primary key,
    parent int references parent on delete cascade on update cascade,
    v int not null,
    tx text
);
create table orphan (
    id int primary key,
    parent int references parent on delete set null on update set default deferrable initially deferred,
    v int not null
);
create index on child (parent);
create index on orphan (parent);

-- Columns that nobody writes.
create table ident (
    id bigint generated always as identity primary key,
    v int not null,
    twice int generated always as (v * 2) stored,
    serial serial
);

-- Constraints and triggers at the end of the transaction.
create table seat (id int primary key, place int not null unique deferrable initially deferred, v int not null);

-- Rules.
create table ruled (a int, b int, v int not null, primary key (a, b));
create table audit (what text, a int, v int);
create rule also as on insert to ruled do also insert into audit values ('insert', new.a, new.v);
create rule also_update as on update to ruled do also insert into audit values ('update', old.a, new.v);
create rule instead as on delete to ruled where old.v % 7 = 0 do instead update ruled set v = v + 1 where a = old.a and b = old.b;
create view shown as select id, v, note from item;
create rule shown_insert as on insert to shown do instead
    insert into item (id, v, note) values (new.id, new.v, new.note) on conflict do nothing;
create rule shown_delete as on delete to shown do instead delete from item where id = old.id;

-- Transactions of more changes than are sorted in memory.
create table many (id int primary key, v int not null);

-- Its name, its schema and its columns change.
create schema moving;
create table moving.shift (id int primary key, v int not null, label_0 text, measure int);

-- Which transaction wrote this version: an event's rows then say whether the transaction is whole.
create function note_writer() returns trigger language plpgsql as $$
begin
    new.tx := pg_current_xact_id()::text;
    return new;
end
$$;
create trigger writer before insert or update on item for each row execute function note_writer();
create trigger writer before insert or update on parent for each row execute function note_writer();
create trigger writer before insert or update on child for each row execute function note_writer();
alter table item enable always trigger writer;
alter table parent enable always trigger writer;
alter table child enable always trigger writer;

-- BEFORE: updates the row that the same statement has just updated, from within its next row.
create function forget() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() = 1 then
        perform set_config('nemesis.previous', '', true);
    end if;
    return null;
end
$$;
create function before_row() returns trigger language plpgsql as $$
declare
    previous text := current_setting('nemesis.previous', true);
begin
    if pg_trigger_depth() = 1 then
        if previous not in ('', new.id::text) and new.v % 3 = 0 then
            update item set v = v + 1 where id = previous::int;
        end if;
        perform set_config('nemesis.previous', new.id::text, true);
    end if;
    return new;
end
$$;
-- AFTER, before and behind capture's own trigger: updates neighbours and another table.
create function after_row() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() = 1 and tg_op = 'DELETE' then
        if old.v % 5 = 0 then
            update item set v = v + 1 where id = old.id + 1;
        end if;
    elsif pg_trigger_depth() = 1 and new.v % tg_argv[0]::int = 0 then
        update item set v = v + 10, note = 'after ' || new.id where id in (new.id + 1, new.id + 2);
        insert into bag values (new.v % 50, tg_name);
    end if;
    return null;
end
$$;
create trigger a_forget before insert or update on item for each statement execute function forget();
create trigger a_before before insert or update on item for each row execute function before_row();
create trigger a_after after insert or update or delete on item for each row execute function after_row(4);
create trigger zz_after after insert or update on item for each row execute function after_row(7);

-- At the end of the transaction, when others have already looked at the row.
create function settle() returns trigger language plpgsql as $$
begin
    if new.v % 2 = 1 then
        update seat set v = v + 1 where id = new.id;
        insert into bag values (new.v % 50, 'settled');
    end if;
    return null;
end
$$;
create constraint trigger settle after insert or update on seat deferrable initially deferred
    for each row execute function settle();

-- Commits and rolls back on its own.
create procedure batches(at int, v int) language plpgsql as $$
begin
    for n in 0..3 loop
        insert into item (id, v, note) values (at + n, batches.v, 'batch') on conflict (id) do update set v = excluded.v + 1;
        update part set v = batches.v where id = at + n;
        if n = 2 then rollback; else commit; end if;
    end loop;
end
$$;

-- Nothing to be done right now: the statement counts neither as done nor as failed.
create function nothing_to_do(why text) returns void language plpgsql as $$
begin
    raise exception using errcode = 'NM000', message = why;
end
$$;

-- Where the table that moves is now, as it is written in SQL.
create function shift() returns text language sql stable as $$
    select relation::regclass::text from event_source.collections where name = 'shift'
$$;
create function shift_column(prefix text) returns name language sql stable as $$
    select attname from pg_attribute
    where attrelid = shift()::regclass and attname like prefix || '%' and not attisdropped
    order by attnum limit 1
$$;
create procedure on_shift(sql text, variadic names text[]) language plpgsql as $$
begin
    if '' = any (names) or array_position(names, null) is not null then
        perform nothing_to_do('there is no such column now');
    end if;
    -- whoever moved it has committed: a name that was read too early would be an error
    execute format(sql, variadic array[shift()] || names);
end
$$;
