#!/usr/bin/env bash
# Counts the tests and assertions of a commit, or of the work tree, so that a change of the suite can show that it
# asserts no less. A test is a function that a runner calls; an assertion is a macro or a wait that can fail one.
#   tools/count-tests.sh [COMMIT]
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

commit=("$@")
options=(-hoP)
[ $# -gt 0 ] || options+=(--untracked)

count() {
    printf '%-12s %5d\n' "$1" "$(git grep "${options[@]}" "$2" "${commit[@]}" -- '*.rs' | wc -l)"
}

count tests '^\s*#\[(test|tokio::test|pg_test)\b'
count assertions '\b(prop_)?assert(_eq|_ne|_matches)?!'
count waits '(?<!fn )\bwait_(until|for)\w*\('
count refusals '(?<!fn )\b(refused\(|unwrap_err\(|expect_err\()'
