#!/usr/bin/env bash
# Type checks the extension for every version that pgrx knows, or for those given. No headers are
# needed: pgrx ships the bindings that its documentation is made from, and these are used here.
#   tools/check-versions.sh [MAJOR...]
# As RUSTC_WRAPPER it is the compiler, and chooses those bindings.
set -euo pipefail

if [ "${CHECK_VERSIONS_WRAPPER:-}" = yes ]; then
    compiler=("$@")
    # Only there: other crates take this for a nightly compiler.
    case " $* " in *" --crate-name pgrx_pg_sys "*) compiler+=(--cfg docsrs) ;; esac
    exec "${compiler[@]}"
fi

. "$(dirname "$0")/env.sh"
cd "$ROOT"
[ $# -gt 0 ] || set -- 13 14 15 16 17 18
export CHECK_VERSIONS_WRAPPER=yes DOCS_RS=1 RUSTC_WRAPPER=$ROOT/tools/check-versions.sh
# Its own folder: neither variable is part of what cargo tells two builds apart by.
export CARGO_TARGET_DIR=$TARGET/check-versions
for major in "$@"; do
    say "checking for PostgreSQL $major"
    cargo check --quiet -p event_source --no-default-features --features "pg$major"
done
