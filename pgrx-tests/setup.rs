//! The server in which the tests of this folder run.
//!
//! Each test runs in a backend, in a transaction that is rolled back: nothing that needs a commit
//! can be tested here; see `tests/` for that.

/// Called by pgrx once before the tests.
pub fn setup(_options: Vec<&str>) {}

/// What the server is started with.
pub fn postgresql_conf_options() -> Vec<&'static str> {
    // The tests are run by a superuser, who mints.
    vec!["shared_preload_libraries = 'event_source'", "event_source.superuser_tokens = on"]
}
