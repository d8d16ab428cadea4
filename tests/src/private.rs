//! The private PostgreSQL: where it is and as which user it runs.
//!
//! It guarantees that nothing here touches the PostgreSQL under `/usr`, and that the server is
//! never started as root: PostgreSQL refuses that, so root hands over to the user `postgres`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The owner of a test cluster's files when the tests run as root.
const SERVER_USER: &str = "postgres";

/// Which build of the extension a cluster runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Build {
    /// What users get.
    #[default]
    Release,
    /// With feature `controls`: faults that a test can switch on to prove that it would see them.
    Controls,
    /// What users get, in a PostgreSQL that also has what `bench/` compares it with.
    Bench,
}

impl Build {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Controls => "controls",
            Self::Bench => "bench",
        }
    }

    /// The programs of this build's PostgreSQL.
    ///
    /// # Panics
    /// When the build was not installed.
    #[must_use]
    pub fn bin(self) -> PathBuf {
        self.installation().join("bin")
    }

    /// The folder of this build, with what is unpacked beside its PostgreSQL.
    #[must_use]
    pub fn root(self) -> PathBuf {
        root().join(self.name())
    }

    /// The whole installation of this build.
    pub(crate) fn installation(self) -> PathBuf {
        let installation = self.root();
        assert!(
            installation.join("bin/postgres").exists(),
            "no private PostgreSQL in {}: run `make private` (or `bench/run`) first",
            installation.display()
        );
        installation
    }
}

/// The folder of all private things; the user that runs the server can reach it.
///
/// # Panics
/// When `tools/private-dir.sh` fails.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        PathBuf::from(output(&mut Command::new(checkout().join("tools/private-dir.sh"))))
    });
    &ROOT
}

/// Whether the PostgreSQL under test is of this major version or a newer one.
///
/// # Panics
/// When its `pg_config` cannot be run or says something else.
#[must_use]
pub fn has_version(major: u32) -> bool {
    let pg_config = Build::Release.bin().join("pg_config");
    let version = output(Command::new(pg_config).arg("--version"));
    let number = version.strip_prefix("PostgreSQL ").and_then(|v| v.split(['.', ' ', 'b']).next());
    let number: Option<u32> = number.and_then(|n| n.parse().ok());
    number.unwrap_or_else(|| panic!("no version: {version}")) >= major
}

/// The top of the source tree.
#[must_use]
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace")
}

/// A command that runs as the user of the server.
#[must_use]
pub fn as_server_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--init-groups", "--"])
        .arg(program);
    command
}

/// Makes a folder that belongs to the user of the server and that everybody can read.
///
/// # Panics
/// When it cannot be made.
pub(crate) fn own_folder(folder: &Path) {
    output(as_server_user(Path::new("mkdir")).args(["-m", "755", "-p"]).arg(folder));
}

/// Runs a command to its end and gives its standard output without the last line end.
///
/// # Panics
/// When it cannot be started or fails; its standard error is in the message.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        done.status.success(),
        "{command:?}: {}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).expect("programs speak UTF-8").trim_end().to_owned()
}
