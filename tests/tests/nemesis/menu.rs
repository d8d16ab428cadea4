//! Everything that the nemesis can do, and how often it does it.

use super::composer::Composer;
use super::{definition, rows, tables, transactions};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Everyone,
    /// One session only: what is heavy, or stops the others while it lasts.
    One,
}

/// How it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// As a part of a transaction, which may be rolled back.
    Inside,
    /// It refuses to run in a transaction block, or makes its own.
    Alone,
}

/// One entry of the menu.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub name: &'static str,
    /// How many times it is in a session's deck.
    pub weight: usize,
    pub who: Who,
    pub how: How,
    pub compose: fn(&mut Composer<'_>),
    /// A transaction that is refused as long as this is not supported; its kinds are off then.
    pub probe: Option<Probe>,
}

/// How to find out whether something is supported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub attempt: &'static str,
    /// Takes back what succeeded.
    pub undo: &'static str,
}

const fn common(name: &'static str, weight: usize, compose: fn(&mut Composer<'_>)) -> Kind {
    Kind { name, weight, who: Who::Everyone, how: How::Inside, compose, probe: None }
}

const fn rare(name: &'static str, compose: fn(&mut Composer<'_>)) -> Kind {
    Kind { who: Who::One, ..common(name, 1, compose) }
}

const fn alone(kind: Kind) -> Kind {
    Kind { how: How::Alone, ..kind }
}

const fn probed(kind: Kind, probe: Probe) -> Kind {
    Kind { probe: Some(probe), ..kind }
}

const PREPARE: Probe = Probe {
    attempt: "BEGIN; INSERT INTO many VALUES (-1, 0); PREPARE TRANSACTION 'probe'",
    undo: "ROLLBACK PREPARED 'probe'",
};
const DROP: Probe = Probe { attempt: "BEGIN; DROP TABLE part_mid", undo: "ROLLBACK" };

pub(crate) const MENU: &[Kind] = &[
    common("insert", 10, rows::insert),
    common("update", 12, rows::update),
    common("update of many rows", 6, rows::update_range),
    common("delete", 8, rows::delete),
    common("merge", 5, rows::merge),
    common("on conflict", 5, rows::on_conflict),
    common("copy", 2, rows::copy),
    common("changed key", 4, rows::changed_key),
    common("delete and insert of a key", 3, rows::delete_insert),
    common("delete and insert in one command", 3, rows::same_command),
    common("update, delete, insert of a key", 3, rows::update_delete_insert),
    common("value out of line written", 2, rows::toasted),
    common("value out of line untouched", 3, rows::toast_untouched),
    common("where current of", 1, rows::current_of),
    common("replica role", 2, rows::replica_role),
    rare("large value", rows::large_value),
    common("foreign key cascades", 3, tables::cascade),
    common("children", 4, tables::children),
    common("rules", 3, tables::rules),
    common("view with rules", 2, tables::view),
    common("generated and identity columns", 3, tables::identity),
    common("no key", 5, tables::keyless),
    common("no key, merge", 2, tables::keyless_merge),
    common("partitioned", 5, tables::partitioned),
    common("row moved between partitions", 3, tables::moved),
    common("partition written directly", 2, tables::direct),
    common("1,600 columns", 1, tables::wide),
    common("deferred constraint", 2, tables::deferred_constraint),
    common("deferred trigger", 3, tables::deferred_trigger),
    rare("truncate", tables::truncate),
    rare("truncate of several tables", tables::truncate_several),
    rare("truncate cascade", tables::truncate_cascade),
    rare("truncate restart identity", tables::truncate_restart),
    rare("truncate of a partition", tables::truncate_partition),
    common("savepoints", 5, transactions::savepoints),
    common("exception block", 3, transactions::exception_block),
    common("many savepoints", 1, transactions::many_savepoints),
    alone(common("procedure that commits", 2, transactions::procedure)),
    alone(common("serializable", 2, transactions::serializable)),
    common("several tables", 3, transactions::several_tables),
    common("more than a buffer", 1, transactions::more_than_a_buffer),
    rare("15,000 rows", transactions::fifteen_thousand),
    alone(common("rolled back", 2, transactions::rolled_back)),
    common("statement timeout", 1, transactions::timeout),
    alone(probed(common("prepare and commit", 2, transactions::prepare_commit), PREPARE)),
    alone(probed(common("prepare and roll back", 1, transactions::prepare_rollback), PREPARE)),
    alone(probed(common("prepare and leave", 1, transactions::prepare_leave), PREPARE)),
    common("table that changes, written", 3, definition::write),
    rare("table renamed", definition::rename_table),
    rare("schema renamed", definition::rename_schema),
    rare("column renamed", definition::rename_column),
    rare("column added", definition::add_column),
    rare("column added with a rewrite", definition::add_volatile),
    rare("column dropped", definition::drop_column),
    rare("column retyped", definition::retype_column),
    rare("index dropped and created", definition::index),
    alone(rare("rewrite", definition::rewrite)),
    rare("triggers off and on", definition::triggers_off),
    rare("partition created", definition::create_partition),
    rare("partition attached", definition::attach_partition),
    rare("partition detached", definition::detach_partition),
    probed(rare("partition dropped", definition::drop_partition), DROP),
];
