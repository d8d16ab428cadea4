# Where things are; sourced by the other scripts, so that each of them agrees with cargo and with
# the tests. Everything can be chosen from outside: CARGO_TARGET_DIR, PG_CONFIG, PG.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
TOOLS=$ROOT/.tools
PGRX_VERSION=0.18.1
NEXTEST_VERSION=0.9.143

# PG=17 chooses the PostgreSQL of that major version, with assertions, that tools/postgres.sh builds.
# Each has its own target folder and PGRX_HOME, so that nothing is built again on going back.
if [ -n "${PG:-}" ]; then
    PG_CONFIG=$TOOLS/postgresql-$PG/bin/pg_config
    # This file is read again by every script that a script calls.
    [ "${TARGET##*/}" = "pg$PG" ] || TARGET=$TARGET/pg$PG
    export CARGO_TARGET_DIR=$TARGET
fi
# Debian keeps several versions side by side; 15 is the one we test on.
debian_pg_config=/usr/lib/postgresql/15/bin/pg_config
if [ -z "${PG_CONFIG:-}" ] && [ -x $debian_pg_config ]; then PG_CONFIG=$debian_pg_config; fi
PG_CONFIG=${PG_CONFIG:-$(command -v pg_config || true)}

# One value for every build: a change of it makes pgrx generate its bindings anew.
export PGRX_PG_CONFIG_PATH=$PG_CONFIG
export PGRX_HOME=$TOOLS/pgrx${PG:+-$PG}
export PATH=$TOOLS/bin:$PATH

# What `make test` builds and runs without cargo-pgrx. Always chosen together: cargo gives each choice of crates
# libraries of its own, with other features.
TESTED=(--workspace --exclude event_source --exclude event_source_bench --exclude event_source_bench_hyper)

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The major version of the PostgreSQL to build for, as pgrx names its features.
pg_feature() { "$PG_CONFIG" --version | sed -E 's/^PostgreSQL ([0-9]+).*/pg\1/'; }

# Runs a command as the user of test servers: PostgreSQL refuses to run as root.
as_server_user() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid postgres --regid postgres --init-groups -- "$@"
    else
        "$@"
    fi
}
