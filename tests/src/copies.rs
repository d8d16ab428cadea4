//! Copies of a cluster, as an administrator makes them: a base backup, a standby, a recovery to a point,
//! an upgrade.
//!
//! A copy is a cluster of its own, with its own folder and ports, and is removed like any other. It runs
//! on the test's thread.

use std::path::Path;
use std::time::Duration;

use crate::cluster::{Cluster, DATABASE};
use crate::ground::{free_port, new_folder};
use crate::private;
use crate::wait::wait_until;

const LONG: Duration = Duration::from_secs(60);

impl Cluster {
    /// A base backup with all WAL that it needs; not started.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self {
            build: self.build,
            installation: self.installation.clone(),
            folder: new_folder(),
            port: free_port(),
            http_port: free_port(),
            environment: self.environment.clone(),
            postmaster: None,
            used: None,
        };
        private::output(
            private::as_server_user(&self.program("pg_basebackup"))
                .arg("-D")
                .arg(copy.data())
                .arg("-h")
                .arg(&self.folder)
                .args(["-p", &self.port.to_string(), "-U", "postgres"])
                .args(["--checkpoint=fast", "--no-sync"]),
        );
        // Appended, so these win over what came along.
        copy.set("port", &copy.port.to_string());
        copy.set("unix_socket_directories", &copy.folder.display().to_string());
        copy.set("event_source.listen", &format!("{DATABASE}=127.0.0.1:{}", copy.http_port));
        copy
    }

    /// A running hot standby.
    #[must_use]
    pub fn standby(&self) -> Self {
        let mut standby = self.copy();
        let address = format!("host={} port={} user=postgres", self.folder.display(), self.port);
        standby.set("primary_conninfo", &address);
        standby.signal_file("standby.signal");
        standby.launch();
        standby
    }

    /// Makes the next start of a copy recover from an archive and end there.
    pub fn recover_until(&self, archive: &Path, setting: &str, target: &str) {
        self.set("restore_command", &format!("cp {}/%f %p", archive.display()));
        self.set(setting, target);
        self.set("recovery_target_action", "promote");
        self.set("archive_mode", "off");
        self.signal_file("recovery.signal");
    }

    /// Takes everything over from a stopped cluster, by `pg_upgrade`. Both are stopped, and this one
    /// is empty.
    pub fn upgrade_from(&self, old: &Self) {
        let bin = self.installation.join("bin");
        private::output(
            private::as_server_user(&self.program("pg_upgrade"))
                // It leaves scripts where it is started.
                .current_dir(self.folder("upgrade"))
                .arg("-b")
                .arg(&bin)
                .arg("-B")
                .arg(&bin)
                .arg("-d")
                .arg(old.data())
                .arg("-D")
                .arg(self.data())
                .arg("-s")
                .arg(&self.folder)
                .args(["-p", &old.port.to_string(), "-P", &self.port.to_string()])
                .args(["-U", "postgres"]),
        );
    }

    /// An empty file of the server's user, by which it knows what to recover.
    fn signal_file(&self, name: &str) {
        private::output(private::as_server_user(Path::new("touch")).arg(self.data().join(name)));
    }

    /// Waits until this standby has replayed all that the primary has committed.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn catch_up_with(&self, primary: &Self) {
        let row = primary.connect().query_one("SELECT pg_current_wal_insert_lsn()::text", &[]);
        let end: String = row.expect("the primary says where it is").get(0);
        let mut client = self.connect();
        let query = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
        wait_until("the standby to catch up", LONG, || {
            client.query_one(&query, &[]).expect("it can be asked").get(0)
        });
    }

    /// Cuts this standby off from its primary: it gets nothing more.
    ///
    /// # Panics
    /// When it is still connected after a minute.
    pub fn cut_off(&self) {
        self.set("primary_conninfo", "");
        self.reload();
        let mut client = self.connect();
        wait_until("the standby to be cut off", LONG, || {
            let query = "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)";
            client.query_one(query, &[]).expect("it can be asked").get(0)
        });
    }

    /// Makes this standby a primary.
    ///
    /// # Panics
    /// When it is none within a minute.
    pub fn promote(&self) {
        let promoted = self.connect().query_one("SELECT pg_promote(true, 60)", &[]);
        assert!(promoted.expect("it can be promoted").get::<_, bool>(0), "not promoted in time");
        self.wait_for_primary();
    }

    /// Waits until this cluster takes writes.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_for_primary(&self) {
        let mut client = self.connect();
        wait_until("recovery to end", LONG, || {
            let query = "SELECT NOT pg_is_in_recovery()";
            client.query_one(query, &[]).expect("it can be asked").get(0)
        });
    }

    /// A folder of the server's user beside this cluster's data, removed with it.
    #[must_use]
    pub fn folder(&self, name: &str) -> std::path::PathBuf {
        let folder = self.folder.join(name);
        private::output(private::as_server_user(Path::new("mkdir")).arg("-p").arg(&folder));
        folder
    }
}
