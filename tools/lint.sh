#!/usr/bin/env bash
# What a reviewer should never have to say: format, clippy, documentation, lengths, licences.
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

cargo fmt --all --check
# For the version that PG or PG_CONFIG chooses; no other crate has default features.
version=(--no-default-features --features)
cargo clippy --quiet --workspace --all-targets "${version[@]}" "$(pg_feature)" -- -D warnings
# The build with negative controls is tested, so it is looked at as well.
cargo clippy --quiet -p event_source "${version[@]}" "$(pg_feature) controls" -- -D warnings
# Private items are in it, so links to them lead somewhere.
RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --quiet --workspace --no-deps \
    --document-private-items "${version[@]}" "$(pg_feature)"

# Ours, committed or not yet; a lock file and a released script are written by a machine.
ours() {
    git ls-files -co --exclude-standard -- "$@" |
        grep -vE '(^|/)(Cargo\.lock|package-lock\.json)$|^sql/released/.*\.sql$'
}

failed=0
while read -r file; do
    [ -f "$file" ] || continue
    lines=$(wc -l < "$file")
    [ "$lines" -le 600 ] || { say "$file: $lines lines, at most 600"; failed=1; }
done < <(ours)
if ours '*.sql' | xargs -r grep -nP '\t| +$' /dev/null; then
    say "tabs or blanks at the line's end in SQL"; failed=1
fi
for script in $(ours 'tools/*' 'bench/*.sh' '*/run' .ci/run); do
    bash -n "$script" || failed=1
done
# The map of the architecture is of this tree: what it names exists, and no part is left out.
map=docs/architecture.md
for place in $(grep -oE '`(src|sql|crates|tests|bench|demo|tools)(/[a-z_./]+)?`' $map | tr -d '`' | sort -u); do
    [ -e "$place" ] || { say "$map names $place, which is not there"; failed=1; }
done
for place in src/* crates/* sql pgrx-tests tests bench demo tools; do
    grep -qF "\`$place\`" $map || { say "$map does not name $place"; failed=1; }
done
# What is released is never edited: databases are in that state. The list itself only grows.
released=sql/released/sha256
[ ! -s $released ] || sha256sum --quiet --check $released || failed=1
while read -r script; do
    grep -qF "  $script" $released || { say "$script is not in $released"; failed=1; }
done < <(find sql/released -name '*.sql')
while read -r tag; do
    gone=$(git show "$tag:$released" 2>/dev/null | grep -vxFf $released || true)
    [ -z "$gone" ] || { say "$released lacks what is released as $tag: $gone"; failed=1; }
done < <(git tag --list 'v*')
tools/cage-lint.sh || failed=1
[ $failed = 0 ] || die "see above"

if command -v shellcheck >/dev/null; then
    shellcheck -x -P tools $(ours 'tools/*.sh' 'bench/*.sh' '*/run' .ci/run)
fi
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --offline check bans licenses sources
fi
