-- Sources: minting, secrets, keys, revocation.

-- One function for each way to name a set; PostgreSQL picks it by the types of the arguments.
-- Not STRICT: most arguments are null. They write nothing, so they run on standbys.

create function event_source(source text, terms text default null, key text default null,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_name_wrapper';

create function event_source(source text, terms anyarray,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_name_terms_wrapper';

create function event_source(source text, key anynonarray,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_name_key_wrapper';

create function event_source(source regclass, terms text default null, key text default null,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_relation_wrapper';

create function event_source(source regclass, terms anyarray,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_relation_terms_wrapper';

create function event_source(source regclass, key anynonarray,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_relation_key_wrapper';

create function event_source(source record,
    filter text default null, params text[] default null, fields text[] default null,
    watch text[] default null, types text[] default null, expires_in interval default null)
returns text language c stable parallel restricted
as 'MODULE_PATHNAME', 'event_source_row_wrapper';

-- role: the role that the secret acts as, one that the caller could SET ROLE to.
create function event_source.create_secret(
    role name default current_user, expires_in interval default null, label text default null)
returns text language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_source_create_secret_wrapper';
revoke all on function event_source.create_secret(name, interval, text) from public;

create function event_source.revoke_secret(id bigint)
returns void language c volatile strict parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_source_revoke_secret_wrapper';
revoke all on function event_source.revoke_secret(bigint) from public;

create function event_source.revoke(token_or_id text)
returns void language c volatile strict parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_source_revoke_wrapper';
revoke all on function event_source.revoke(text) from public;

create function event_source.rotate_key()
returns void language c volatile strict parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_source_rotate_key_wrapper';
revoke all on function event_source.rotate_key() from public;

-- Erases what the log shows of a row, or some columns of it, and tells subscribers; how many rows of
-- the log it rewrote. Call it after the table itself was changed: a later change logs what it replaces.
create function event_source.redact(relation regclass, key text, fields text[] default null)
returns bigint language c volatile parallel unsafe
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'redact_wrapper';
revoke all on function event_source.redact(regclass, text, text[]) from public;

-- API: private. Tells the workers, when the transaction commits, that a stream may have lost what it was
-- opened by. It only sends a message, which standbys hear as well.
create function event_source.credentials_changed() returns trigger
language c volatile parallel unsafe
as 'MODULE_PATHNAME', 'event_source_credentials_changed';
revoke all on function event_source.credentials_changed() from public;

create trigger credentials_changed after insert or update or delete on event_source.signing_key
for each statement execute function event_source.credentials_changed();
create trigger credentials_changed after insert or update or delete on event_source.revocation
for each statement execute function event_source.credentials_changed();
create trigger credentials_changed after insert or update or delete on event_source.secret
for each statement execute function event_source.credentials_changed();
-- However the row came: by replication, or in a restore. TRUNCATE sends the message itself.
alter table event_source.signing_key enable always trigger credentials_changed;
alter table event_source.revocation enable always trigger credentials_changed;
alter table event_source.secret enable always trigger credentials_changed;

create function event_source.describe(token text)
returns json language c stable strict parallel restricted
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'event_source_describe_wrapper';

-- Those of the caller's own roles for everyone, all of them for pg_monitor; never the secret.
-- With OFFSET it cannot be written to: pg_write_all_data may write to every view that can.
create view event_source.secrets with (security_barrier) as
select id, role, label, created_at, expires_at
from event_source.secret
where pg_catalog.pg_has_role(role, 'USAGE') or pg_catalog.pg_has_role('pg_monitor', 'USAGE')
offset 0;
grant select on event_source.secrets to public;
