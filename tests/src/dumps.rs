//! Dumps, and databases made from them, by PostgreSQL's own programs as an administrator calls them.
//!
//! It runs on the test's thread. A dump lies beside the cluster that it is of, and goes with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, DATABASE};
use crate::private;

impl Cluster {
    /// A dump of database `app`: `--format=plain` and the like are among the options.
    #[must_use]
    pub fn dump(&self, name: &str, options: &[&str]) -> PathBuf {
        let file = self.folder("dumps").join(name);
        private::output(
            self.administrator("pg_dump", DATABASE).args(options).arg("--file").arg(&file),
        );
        file
    }

    /// Runs a dump in a database: a plain one by psql, others by `pg_restore`. As they are called by
    /// default, what fails is passed over; the error is all that was said.
    ///
    /// # Errors
    /// When anything failed.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn restore(&self, database: &str, dump: &Path, options: &[&str]) -> Result<(), String> {
        let is_plain = dump.extension().is_some_and(|extension| extension == "sql");
        let mut command = if is_plain {
            let mut psql = self.administrator("psql", database);
            psql.args(["-X", "-q", "-o", "/dev/null"]).args(options).arg("--file").arg(dump);
            psql
        } else {
            let mut pg_restore = self.administrator("pg_restore", database);
            pg_restore.args(options).arg(dump);
            pg_restore
        };
        let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        // psql goes on behind an error and ends well.
        if done.status.success() && !said.contains("ERROR:") { Ok(()) } else { Err(said) }
    }

    /// What a custom dump holds, in the order in which it is restored: lines of a list of `pg_restore`.
    #[must_use]
    pub fn contents(&self, dump: &Path) -> Vec<String> {
        let mut pg_restore = Command::new(self.program("pg_restore"));
        let list = private::output(pg_restore.arg("--list").arg(dump));
        list.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
    }

    /// # Panics
    /// When it cannot be created.
    pub fn create_database(&self, name: &str) {
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        self.connect_to("postgres").batch_execute(&create).expect("it can be created");
    }

    fn administrator(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(self.program(program));
        command.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string()]);
        command.args(["-U", "postgres", "-d", database]);
        command
    }
}
