#!/usr/bin/env bash
# Runs the tests, from the quick ones to the real ones, and says in the end how long each group took.
#   tools/test.sh [unit | inside | outside]      without an argument all of them
# TESTS chooses outside tests by parts of their names, as cargo-nextest understands its arguments:
# TESTS=lifecycle, TESTS="prepared::many", TESTS="crash:: --no-capture".
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"
"$ROOT/tools/nextest.sh"

# One profile for all that is built here, so that what the groups share is compiled once.
export PROFILE=${PROFILE:-tests}

# The crates that cannot touch PostgreSQL. The extension's library does not link into a plain test.
unit() {
    cargo nextest run --cargo-profile "$PROFILE" "${TESTED[@]}" -E 'not package(event_source_tests)'
}

# Tests in a backend: cargo-pgrx installs a build of its own, with the tests in it, into a third
# private PostgreSQL and runs that.
inside() {
    "$ROOT/tools/test-inside.sh"
}

build() {
    "$ROOT/tools/private.sh"
}

# Side by side, in groups of .config/nextest.toml.
outside() {
    local arguments=() chosen=("${TESTED[@]}")
    read -ra arguments <<< "${TESTS:-}"
    # In another profile nothing else is built, so that there is nothing to share.
    [ "$PROFILE" = tests ] || chosen=(-p event_source_tests)
    cargo nextest run --cargo-profile "$PROFILE" "${chosen[@]}" -E 'package(event_source_tests)' "${arguments[@]}"
}

took=()
trap 'printf "%s\n" "${took[@]}" >&2' EXIT
group() {
    local begun=$SECONDS
    "$1"
    took+=("$(printf '%-8s %3d min %02d s' "$1" $(((SECONDS - begun) / 60)) $(((SECONDS - begun) % 60)))")
}

case "${1:-all}" in
    unit | inside) group "$1" ;;
    outside) group build; group outside ;;
    all) group unit; group build; group inside; group outside ;;
    *) die "usage: tools/test.sh [unit | inside | outside]" ;;
esac
