//! What a test may choose about its cluster.

use std::ffi::OsString;

use crate::cluster::Cluster;
use crate::private::Build;

/// What a cluster should be like; [`Options::start`] makes it.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) build: Build,
    pub(crate) conf: Vec<(String, String)>,
    pub(crate) environment: Vec<(String, OsString)>,
    pub(crate) extension: bool,
    pub(crate) own_installation: bool,
    pub(crate) fresh: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            build: Build::Release,
            conf: Vec::new(),
            environment: Vec::new(),
            extension: true,
            own_installation: false,
            fresh: false,
        }
    }
}

impl Options {
    #[must_use]
    pub fn build(mut self, build: Build) -> Self {
        self.build = build;
        self
    }

    /// A setting of `postgresql.conf`; a later one of the same name wins, also over the harness's.
    #[must_use]
    pub fn conf(mut self, name: &str, value: impl ToString) -> Self {
        self.conf.push((name.to_owned(), value.to_string()));
        self
    }

    /// A variable of the server's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Leaves the database and the extension to the test.
    #[must_use]
    pub fn without_extension(mut self) -> Self {
        self.extension = false;
        self
    }

    /// Makes it by initdb and CREATE EXTENSION, for a test whose subject is a new cluster or that has two of them:
    /// copies of a template have its system identifier and its keys.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Gives the cluster a PostgreSQL of its own, whose files the test may replace.
    #[must_use]
    pub fn own_installation(mut self) -> Self {
        self.own_installation = true;
        self
    }

    /// Makes and starts the cluster, with database `app` and the extension in it.
    ///
    /// # Panics
    /// When it does not come up; the end of the server's log is printed.
    #[must_use]
    pub fn start(self) -> Cluster {
        Cluster::create(self)
    }
}
