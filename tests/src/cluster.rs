//! A throw-away cluster: copied from a template or made by initdb, start, stop, removal.
//!
//! It guarantees that its processes and files are gone when it is dropped, and that the end of the
//! server's log is printed when that happens by a panic. The postmaster is a child of the test's
//! process and in its process group, so Ctrl-C ends it too; what a killed test left behind
//! is swept away by the next one.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

use crate::ground::{free_port, new_folder, remove};
use crate::health::health;
use crate::options::Options;
use crate::private::{self, Build};
use crate::processes::{self, Pid, Signal};
use crate::template::{Template, Used};
use crate::wait::{wait_for, wait_until};

/// The database that the extension is created in and that the worker serves.
pub const DATABASE: &str = "app";
const STARTUP: Duration = Duration::from_secs(60);

/// How PostgreSQL is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Fast,
    Immediate,
}

/// A running (or stopped) PostgreSQL of the private installation.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) build: Build,
    pub(crate) installation: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) http_port: u16,
    pub(crate) environment: Vec<(String, OsString)>,
    pub(crate) postmaster: Option<Child>,
    /// Where its data folder goes in the end, when it is a copy of a template.
    pub(crate) used: Option<Used>,
}

impl Cluster {
    /// A cluster of the release build with the extension created in database `app`.
    #[must_use]
    pub fn start() -> Self {
        Options::default().start()
    }

    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) fn create(options: Options) -> Self {
        let mut cluster = Self::place(&options);
        let (build, extension) = (options.build, options.extension);
        if options.fresh {
            cluster.initdb();
        } else {
            let name = if extension { "extension" } else { "bare" };
            let make = |data: &Path| Self::make_template(build, extension, data);
            cluster.used = Some(Template::of(build, name, make).copy_to(&cluster.data()));
        }
        cluster.set("listen_addresses", "127.0.0.1");
        cluster.set("port", &cluster.port.to_string());
        cluster.set("unix_socket_directories", &cluster.folder.display().to_string());
        cluster.set("max_connections", "100");
        cluster.set("log_line_prefix", "%m [%p] %b %d ");
        cluster.set("shared_preload_libraries", "event_source");
        // Most tests mint as the superuser that they connect as; those of rights switch it off.
        cluster.set("event_source.superuser_tokens", "on");
        cluster.set("event_source.listen", &format!("{DATABASE}=127.0.0.1:{}", cluster.http_port));
        // Tests are of all of them; by default those are off whose clients bring no token.
        let protocols = "native, fauna, fauna_query, fauna_v4, directus, loopback";
        cluster.set("event_source.protocols", protocols);
        for (name, value) in &options.conf {
            cluster.set(name, value);
        }
        cluster.launch();
        if options.fresh && extension {
            cluster.create_extension();
        }
        cluster
    }

    /// A folder, ports and an installation; there is no cluster yet.
    fn place(options: &Options) -> Self {
        let folder = new_folder();
        let mut installation = options.build.installation();
        if options.own_installation {
            let own = folder.join("installation");
            // Hard links: quick, and a file that is replaced is replaced here only.
            private::output(Command::new("cp").arg("-al").arg(installation).arg(&own));
            installation = own;
        }
        Self {
            build: options.build,
            installation,
            folder,
            port: free_port(),
            http_port: free_port(),
            environment: options.environment.clone(),
            postmaster: None,
            used: None,
        }
    }

    fn initdb(&self) {
        private::output(
            private::as_server_user(&self.program("initdb"))
                .arg("-D")
                .arg(self.data())
                .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
                .arg("--no-sync"),
        );
    }

    fn create_extension(&self) {
        self.connect_to("postgres")
            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .expect("the database can be created");
        self.connect()
            .batch_execute("CREATE EXTENSION event_source")
            .expect("the extension can be created");
    }

    /// Makes a cluster that never served, stops it, and leaves its data folder as `data`.
    fn make_template(build: Build, extension: bool, data: &Path) {
        let mut options = Options::default().build(build).conf("event_source.listen", "").fresh();
        options.extension = extension;
        let cluster = if extension {
            let mut cluster = Self::create(options);
            cluster.stop(Stop::Fast);
            cluster
        } else {
            let cluster = Self::place(&options);
            cluster.initdb();
            cluster
        };
        fs::rename(cluster.data(), data).expect("both lie in one file system");
    }

    /// Appends a setting to `postgresql.conf`; [`Cluster::reload`] or a restart makes it count.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, name: &str, value: &str) {
        use std::io::Write as _;
        let line = format!("{name} = '{}'\n", value.replace('\'', "''"));
        let path = self.data().join("postgresql.conf");
        let mut file = fs::File::options().append(true).open(path).expect("initdb wrote it");
        file.write_all(line.as_bytes()).expect("the configuration can be written");
    }

    /// Makes the running server read its configuration.
    pub fn reload(&self) {
        self.postmaster().signal(Signal::HUP);
    }

    /// Starts a stopped cluster and waits until it takes connections.
    ///
    /// # Panics
    /// When it ends instead, or is not up within a minute.
    pub fn launch(&mut self) {
        assert!(self.postmaster.is_none(), "the cluster runs already");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the log can be opened");
        let child = private::as_server_user(&self.program("postgres"))
            .arg("-D")
            .arg(self.data())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log)
            .spawn()
            .expect("postgres can be started");
        self.postmaster = Some(child);
        wait_until("the server to take connections", STARTUP, || {
            let child = self.postmaster.as_mut().expect("just started");
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "postgres ended at start: {ended:?}");
            self.config().dbname("postgres").connect(NoTls).is_ok()
        });
    }

    /// Stops the server and waits until it is gone, by `pg_ctl` as an administrator would. Returns
    /// how long that took.
    ///
    /// # Panics
    /// When it does not run or does not stop within a minute.
    pub fn stop(&mut self, how: Stop) -> Duration {
        let start = Instant::now();
        let mode = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        private::output(
            private::as_server_user(&self.program("pg_ctl"))
                .args(["stop", "--silent", "--wait", "--timeout=60", "--mode", mode, "-D"])
                .arg(self.data()),
        );
        let elapsed = start.elapsed();
        self.collect();
        elapsed
    }

    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.launch();
    }

    /// Kills every process of the cluster at once, as a power failure would; `launch` recovers.
    pub fn kill(&mut self) {
        let postmaster = self.postmaster();
        // Stopped first, so that it cannot start anything between the look and the kill.
        postmaster.signal(Signal::STOP);
        wait_until("the postmaster to stop", STARTUP, || postmaster.is_stopped());
        let others = postmaster.descendants();
        for pid in &others {
            pid.signal(Signal::KILL);
        }
        postmaster.signal(Signal::KILL);
        self.collect();
        // As long as one of them still holds the shared memory, no server starts here.
        wait_until("everybody to be gone", STARTUP, || !others.iter().any(|pid| pid.lives()));
        self.forget_postmaster();
    }

    /// Kills the postmaster alone and waits until everybody else has noticed; `launch` recovers.
    ///
    /// # Panics
    /// When one of its children stays.
    pub fn kill_postmaster(&mut self) {
        let postmaster = self.postmaster();
        // Stopped first, so that nobody is born whom we do not know.
        postmaster.signal(Signal::STOP);
        wait_until("the postmaster to stop", STARTUP, || postmaster.is_stopped());
        let others = postmaster.descendants();
        postmaster.signal(Signal::KILL);
        self.collect();
        wait_until("the postmaster's children to end", STARTUP, || {
            !others.iter().any(|pid| pid.lives())
        });
        self.forget_postmaster();
    }

    /// Killed by signal 9 it could not remove its file; the next start would find its own old pid.
    fn forget_postmaster(&self) {
        let _absent = fs::remove_file(self.data().join("postmaster.pid"));
    }

    fn collect(&mut self) {
        let mut child = self.postmaster.take().expect("the cluster runs");
        child.wait().expect("it is our child");
    }

    /// Connection parameters: user `postgres`, database `app`.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(self.port)
            .user("postgres")
            .dbname(DATABASE)
            .connect_timeout(Duration::from_secs(10));
        config
    }

    /// A connection to database `app` as superuser.
    ///
    /// # Panics
    /// When there is none to be had.
    #[must_use]
    pub fn connect(&self) -> Client {
        self.connect_to(DATABASE)
    }

    /// # Panics
    /// When there is no connection to be had.
    #[must_use]
    pub fn connect_to(&self, database: &str) -> Client {
        self.config().dbname(database).connect(NoTls).expect("the server takes connections")
    }

    /// # Panics
    /// When there is no connection to be had.
    #[must_use]
    pub fn connect_as(&self, role: &str) -> Client {
        self.config().user(role).connect(NoTls).expect("the server takes connections")
    }

    /// Runs a `psql` script (commands of psql included) in database `app`; stops at an error.
    ///
    /// # Panics
    /// When the script fails.
    #[must_use]
    pub fn psql(&self, script: &str) -> String {
        let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d"];
        private::output(
            Command::new("sh")
                .args(["-c", r#"printf '%s' "$0" | "$@""#, script])
                .arg(self.program("psql"))
                .args(options)
                .args([DATABASE, "-p", &self.port.to_string(), "-h"])
                .arg(&self.folder),
        )
    }

    /// Where the worker of database `app` listens.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http_port))
    }

    /// The TCP port of SQL.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the socket of SQL.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.folder
    }

    /// A program of the cluster's PostgreSQL.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.installation.join("bin").join(name)
    }

    /// The folder of libraries: the extension's and the server's executable.
    ///
    /// # Panics
    /// When `pg_config` cannot be run.
    #[must_use]
    pub fn pkglibdir(&self) -> PathBuf {
        let mut pg_config = Command::new(self.program("pg_config"));
        PathBuf::from(private::output(pg_config.arg("--pkglibdir")))
    }

    /// The folder of the SQL scripts and the control files of extensions.
    ///
    /// # Panics
    /// When `pg_config` cannot be run.
    #[must_use]
    pub fn scripts(&self) -> PathBuf {
        let mut pg_config = Command::new(self.program("pg_config"));
        PathBuf::from(private::output(pg_config.arg("--sharedir"))).join("extension")
    }

    #[must_use]
    pub fn build(&self) -> Build {
        self.build
    }

    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Everything that the server and its children have logged.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).expect("the log is there");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// # Panics
    /// When the cluster is stopped.
    #[must_use]
    pub fn postmaster(&self) -> Pid {
        let child = self.postmaster.as_ref().expect("the cluster runs");
        Pid(i32::try_from(child.id()).expect("process ids are small"))
    }

    /// The worker of database `app`, if it runs.
    #[must_use]
    pub fn worker(&self) -> Option<Pid> {
        processes::workers(&mut self.connect_to("postgres"))
            .into_iter()
            .find_map(|(pid, database, _)| (database == DATABASE).then_some(pid))
    }

    /// The server process of database `app`, if it runs.
    #[must_use]
    pub fn server(&self) -> Option<Pid> {
        self.worker()?.children().into_iter().next()
    }

    /// Waits until worker and server run and the port answers; gives both.
    #[must_use]
    pub fn serving(&self) -> (Pid, Pid) {
        wait_for("worker and server to serve", STARTUP, || {
            let worker = self.worker()?;
            let server = worker.children().into_iter().next()?;
            self.healthy().then_some((worker, server))
        })
    }

    /// Whether `GET /health` answers 200.
    #[must_use]
    pub fn healthy(&self) -> bool {
        health(self.http()).is_ok_and(|status| status == 200)
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "the log's end belongs into a failed test's output")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read(self.log_file()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- end of the server's log ---\n{}\n---", tail.join("\n"));
        }
        if self.postmaster.is_some() {
            self.kill();
        }
        if let (Some(used), Some(name)) = (&self.used, self.folder.file_name()) {
            used.keep(&self.data(), name);
        }
        remove(&self.folder);
    }
}
