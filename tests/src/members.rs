//! What an installed extension consists of, as text: two that behave alike look alike here.
//!
//! Numbers of columns are among it, since the library reads its tables by them.

use postgres::Client;

const MEMBERS: &str = "
    WITH member AS (
        SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS what
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'event_source'
    ), relation AS (
        SELECT m.what, c.* FROM member m JOIN pg_class c ON c.oid = m.objid
        WHERE m.classid = 'pg_class'::regclass
    ), said (what, aspect, text) AS (
        SELECT m.what, 'comment', obj_description(m.objid, m.classid::regclass::name) FROM member m
        UNION ALL SELECT m.what, 'initial rights', i.initprivs::text
        FROM member m LEFT JOIN pg_init_privs i
            ON i.classoid = m.classid AND i.objoid = m.objid AND i.objsubid = 0
        UNION ALL SELECT m.what, 'definition', pg_get_functiondef(p.oid)
        FROM member m JOIN pg_proc p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass
        UNION ALL SELECT m.what, 'rights', p.proacl::text
        FROM member m JOIN pg_proc p ON p.oid = m.objid WHERE m.classid = 'pg_proc'::regclass
        UNION ALL SELECT m.what, 'rights', n.nspacl::text
        FROM member m JOIN pg_namespace n ON n.oid = m.objid WHERE m.classid = 'pg_namespace'::regclass
        UNION ALL SELECT m.what, 'definition',
            format('%s %s %s %s %s', e.evtevent, e.evtenabled, e.evttags, e.evtfoid::regprocedure,
                e.evtowner::regrole)
        FROM member m JOIN pg_event_trigger e ON e.oid = m.objid
        WHERE m.classid = 'pg_event_trigger'::regclass
        UNION ALL SELECT r.what, 'rights', r.relacl::text FROM relation r
        UNION ALL SELECT r.what, 'definition',
            format('%s %s %s %s', r.relkind, r.relpersistence, r.reloptions, r.relowner::regrole)
        FROM relation r
        UNION ALL SELECT r.what, 'query', pg_get_viewdef(r.oid) FROM relation r WHERE r.relkind = 'v'
        UNION ALL SELECT r.what, 'column ' || a.attname,
            format('%s %s not null: %s identity: %s default: %s rights: %s comment: %s', a.attnum,
                format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(r.oid, a.attnum))
        FROM relation r
        JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
        UNION ALL SELECT r.what, 'constraint ' || c.conname, pg_get_constraintdef(c.oid)
        FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
        UNION ALL SELECT r.what, 'index', pg_get_indexdef(i.indexrelid)
        FROM relation r JOIN pg_index i ON i.indrelid = r.oid
        UNION ALL SELECT 'the extension', 'is dumped', t::regclass || coalesce(e.extcondition[n], '')
        FROM pg_extension e, unnest(e.extconfig) WITH ORDINALITY AS u (t, n)
        WHERE e.extname = 'event_source'
        UNION ALL SELECT 'the extension', 'version', e.extversion
        FROM pg_extension e WHERE e.extname = 'event_source'
    )
    SELECT format('%s, %s: %s', what, aspect, text) FROM said ORDER BY 1";

/// Everything that `event_source` consists of in a database, a line each.
///
/// # Panics
/// When the catalogs cannot be read.
#[must_use]
pub fn members(client: &mut Client) -> Vec<String> {
    let rows = client.query(MEMBERS, &[]).expect("the catalogs can be read");
    rows.iter().map(|row| row.get(0)).collect()
}

/// What only one of the two has.
#[must_use]
pub fn differences(left: &[String], right: &[String]) -> Vec<String> {
    let only = |sign, these: &[String], those: &[String]| -> Vec<String> {
        let missing = these.iter().filter(|line| !those.contains(line));
        missing.map(|line| format!("{sign} {line}")).collect()
    };
    let mut differences = only('-', left, right);
    differences.extend(only('+', right, left));
    differences
}
