#!/usr/bin/env bash
# Runs the tests, from the quick ones to the real ones. Without an argument all of them.
#   tools/test.sh [unit | inside | outside]
# TESTS goes to the outside tests: TESTS="--test lifecycle" or TESTS="--test feeds -- page".
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

# The crates that cannot touch PostgreSQL. The extension's library does not link into a plain test.
unit() {
    cargo test --quiet --workspace --exclude event_source --exclude event_source_tests --exclude event_source_bench
}

# Tests in a backend: cargo-pgrx installs a build of its own, with the tests in it, into a third
# private PostgreSQL and runs that.
inside() {
    grep -rqs '#\[pg_test' src pgrx-tests || return 0
    "$ROOT/tools/test-inside.sh"
}

# One at a time: several measure how long something takes, and the machine of CI has two cores.
outside() {
    "$ROOT/tools/private.sh"
    # Only what the benchmarks calculate; they run by bench/run.
    [ -n "${TESTS:-}" ] || cargo test --quiet --profile outside -p event_source_bench
    local arguments=()
    read -ra arguments <<< "${TESTS:-}"
    [[ " ${arguments[*]} " == *" -- "* ]] || arguments+=(--)
    cargo test --profile outside -p event_source_tests "${arguments[@]}" --test-threads=1
}

case "${1:-all}" in
    unit | inside | outside) "$1" ;;
    all) unit; inside; outside ;;
    *) die "usage: tools/test.sh [unit | inside | outside]" ;;
esac
