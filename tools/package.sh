#!/usr/bin/env bash
# Builds what users install, as a tree that only has to be copied to /: library, control file and
# SQL by cargo-pgrx, and the server executable beside the library. Prints the tree's path.
#   tools/package.sh [--features controls]
set -euo pipefail
. "$(dirname "$0")/env.sh"
cd "$ROOT"

extra=
if [ "${1:-}" = --features ]; then extra=$2; shift 2; fi
[ $# = 0 ] || die "usage: tools/package.sh [--features LIST]"
[ -x "$PG_CONFIG" ] || die "no pg_config: install PostgreSQL's headers or set PG_CONFIG"

profile=${PROFILE:-release}
feature=$(pg_feature)
tree=$TARGET/package/$feature${extra:+-$extra}
rm -rf "$tree"
cargo pgrx package --pg-config "$PG_CONFIG" --profile "$profile" --no-default-features \
    --features "$feature $extra" --out-dir "$tree" >&2
server=(-p event_source_server)
[ "$profile" != tests ] || server=("${TESTED[@]}" --bins --tests)
cargo build --quiet "${server[@]}" --profile "$profile" >&2
install -m 755 "$TARGET/$profile/event_source_server" "$tree$("$PG_CONFIG" --pkglibdir)/"
printf '%s\n' "$tree"
